//! The Lua scripts: each is one atomic operation, on the clock of Redis.

use redis::Script;

/// The beginning of every script. A value of another type than expected counts as absent.
const SCRIPT_PRELUDE: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(key, last)
  if redis.call('TYPE', key).ok ~= 'string' then return nil end
  return redis.call('GETRANGE', key, 0, last)
end
-- When the newest attempt in a state began; nil if that is in the future: the clock was set back.
local function started_at(key)
  local head = text(key, 63)
  local at = head and tonumber(string.match(head, '^resumen/%d+ (%d+) '))
  if at and at <= now + 1000 then return at end
end
-- A state, its size if that exceeds the limit, or false if there is none.
local function state(key, limit)
  if redis.call('TYPE', key).ok ~= 'string' then return false end
  local size = redis.call('STRLEN', key)
  if size > limit then return size end
  return redis.call('GET', key)
end
";

/// KEYS lease, state · ARGV token, lease duration, known attempt, prefers newer state, size limit.
const ACQUIRE_LEASE: &str = r"
local held = text(KEYS[1], 199)
local at = started_at(KEYS[2])
local newer = at and at > tonumber(ARGV[3]) and state(KEYS[2], tonumber(ARGV[5]))
if held and (string.match(held, '^flying %S+ %d+$') or string.match(held, '^landed %S+ %d+$')) and #held < 150 then
  local left = redis.call('PTTL', KEYS[1])
  -- A lease from the future (the clock was set back, and its remaining time has grown by as much) or much longer than the
  -- requested one is ignored: it would block the source for hours. A somewhat longer one has another configuration.
  local age = now - tonumber(string.match(held, '%d+$'))
  local sane = age >= -1000 and age + left <= 16 * tonumber(ARGV[2])
  if left > 0 and sane then return {'held', held, left, newer or false} end
end
if newer and ARGV[4] == '1' then return {'newer', newer} end
redis.call('SET', KEYS[1], string.format('flying %s %.0f', ARGV[1], now), 'PX', ARGV[2])
return {'granted'}
";

/// KEYS lease, state · ARGV token, start, `min_interval`, time to live of the state, channel, identity, state.
const PUBLISH_STATE: &str = r"
local held = text(KEYS[1], 199)
local mine = held and string.match(held, '^flying (%S+) %d+$') == ARGV[1]
local at = started_at(KEYS[2])
local newer = not at or tonumber(ARGV[2]) > at
if newer and #ARGV[7] > 0 then redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[4]) end
if mine or not held then
  local rest = tonumber(ARGV[2]) + tonumber(ARGV[3]) - now
  if rest > 0 then
    redis.call('SET', KEYS[1], 'landed ' .. ARGV[1] .. ' ' .. ARGV[2], 'PX', string.format('%.0f', rest))
  elseif mine then
    redis.call('DEL', KEYS[1])
  end
end
if mine or newer then redis.call('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. ARGV[1] .. ' landed') end
return mine and 1 or 0
";

/// KEYS lease · ARGV token, channel, identity.
const RELEASE_LEASE: &str = r"
local held = text(KEYS[1], 199)
if held and string.match(held, '^flying (%S+) %d+$') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3] .. ' ' .. ARGV[1] .. ' freed')
end
return 1
";

/// KEYS states · ARGV size limit of a state, and of all but the last. The reply ends with the state that
/// exceeds the second limit.
const READ_STATES: &str = r"
local found, size = {}, 0
for i, key in ipairs(KEYS) do
  found[i] = state(key, tonumber(ARGV[1]))
  if type(found[i]) == 'string' then size = size + #found[i] end
  if size > tonumber(ARGV[2]) then break end
end
return found
";

/// KEYS replicas · ARGV replica, expiry. Writes, so that a store that refuses writes is detected.
const SEND_HEARTBEAT: &str = r"
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.0f', now + 1000), '+inf')
redis.call('PEXPIRE', KEYS[1], 60000)
return {tonumber(clock[1]), tonumber(clock[2]), redis.call('ZCARD', KEYS[1])}
";

/// The scripts with their digests.
pub(crate) struct LuaScripts {
    pub(crate) acquire_lease: Script,
    pub(crate) publish_state: Script,
    pub(crate) release_lease: Script,
    pub(crate) read_states: Script,
    pub(crate) send_heartbeat: Script,
}

impl LuaScripts {
    pub(crate) fn new() -> Self {
        let script = |body: &str| Script::new(&format!("{SCRIPT_PRELUDE}{body}"));
        Self {
            acquire_lease: script(ACQUIRE_LEASE),
            publish_state: script(PUBLISH_STATE),
            release_lease: script(RELEASE_LEASE),
            read_states: script(READ_STATES),
            send_heartbeat: script(SEND_HEARTBEAT),
        }
    }
}
