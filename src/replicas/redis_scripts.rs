//! The scripts: each is one operation that nobody can come between, on the clock of Redis.

use redis::Script;

/// What all of them begin with. Whatever stands where a text should is passed over, whatever it is.
const SCRIPT_PRELUDE: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(key, last)
  if redis.call('TYPE', key).ok ~= 'string' then return nil end
  return redis.call('GETRANGE', key, 0, last)
end
-- When the newest attempt began that a letter tells of; none if that is still to come: the clock was set back.
local function stamp(key)
  local head = text(key, 63)
  local at = head and tonumber(string.match(head, '^resumen/%d+ (%d+) '))
  if at and at <= now + 1000 then return at end
end
-- A letter, or its size if that is beyond reason; false if there is none.
local function letter(key, most)
  if redis.call('TYPE', key).ok ~= 'string' then return false end
  local size = redis.call('STRLEN', key)
  if size > most then return size end
  return redis.call('GET', key)
end
";

/// KEYS lease, letter · ARGV token, span, known, yields, largest.
const ACQUIRE_LEASE: &str = r"
local held = text(KEYS[1], 199)
local at = stamp(KEYS[2])
local news = at and at > tonumber(ARGV[3]) and letter(KEYS[2], tonumber(ARGV[5]))
if held and (string.match(held, '^flying %S+ %d+$') or string.match(held, '^landed %S+ %d+$')) and #held < 150 then
  local left = redis.call('PTTL', KEYS[1])
  -- One from the future (the clock was set back, and what is left has grown by as much), or much longer than one's own,
  -- is nobody's: it would hold up the source for hours. A little longer is that of another configuration.
  local age = now - tonumber(string.match(held, '%d+$'))
  local sane = age >= -1000 and age + left <= 16 * tonumber(ARGV[2])
  if left > 0 and sane then return {'held', held, left, news or false} end
end
if news and ARGV[4] == '1' then return {'told', news} end
redis.call('SET', KEYS[1], string.format('flying %s %.0f', ARGV[1], now), 'PX', ARGV[2])
return {'granted'}
";

/// KEYS lease, letter · ARGV token, stamp, `min_interval`, keep, channel, identity, letter.
const PUBLISH_STATE: &str = r"
local held = text(KEYS[1], 199)
local mine = held and string.match(held, '^flying (%S+) %d+$') == ARGV[1]
local at = stamp(KEYS[2])
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

/// KEYS letters · ARGV largest.
const READ_STATES: &str = r"
local found = {}
for i, key in ipairs(KEYS) do found[i] = letter(key, tonumber(ARGV[1])) end
return found
";

/// KEYS replicas · ARGV replica, how long one counts. Writes, so that a store that cannot be written to is found out.
const SEND_HEARTBEAT: &str = r"
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('%.0f', now + 1000), '+inf')
redis.call('PEXPIRE', KEYS[1], 60000)
return {tonumber(clock[1]), tonumber(clock[2]), redis.call('ZCARD', KEYS[1])}
";

/// The scripts, each with its digest.
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
