//! Values in Redis with a right checksum and content that this program never writes.

use resumen::process::Clock;

use crate::support::fake_provider::FakeProvider;
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{
    ClusterFixture, ReplicaCluster, is_sharing, shared_source_config, wait_for_readings,
};
use crate::support::wait::wait_until;

/// One attempt within a test: what Redis says is not replaced.
const ONE_ATTEMPT: &str = "interval = \"1h\"\ntimeout = \"2s\"\nmin_interval = \"1s\"";

#[test]
fn hostile_value_is_replaced() {
    let Some(fixture) = ClusterFixture::start(ONE_ATTEMPT) else {
        return;
    };
    let redis = &fixture.redis;
    let replicas = fixture.cluster.start_replicas(1);
    wait_for_readings(&replicas);
    let key = fixture.stored_state_key();
    let stored = redis.execute(&["GET", &key]);
    let stored = stored.split_once("\r\n").unwrap().1.trim_end();
    let words: Vec<&str> = stored.splitn(4, ' ').collect();
    let deep = format!("{}1{}", "[".repeat(6_000), "]".repeat(6_000));
    let identity = key.split(['{', '}']).nth(1).unwrap();
    for (number, (replacement, reason)) in [
        (deep.as_str(), "nests deeper than 64 levels"),
        ("{\"n\":1,\"n\":2}", "a name twice"),
        ("null", "nothing but null"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = words[3].replacen("{\"n\":1}", replacement, 1);
        let checksum = xxhash_rust::xxh3::xxh3_128(body.as_bytes());
        let value = format!("{} {} {checksum:032x} {body}", words[0], words[1]);
        redis.execute(&["SET", &key, &value, "PX", "600000"]);
        // As after an attempt a moment ago: it holds the attempt of a new replica back.
        let now = Clock::start().wall_time();
        let lease = format!("landed other-{number} {}", now.as_millis());
        redis.execute(&[
            "SET",
            &key.replace(":letter", ":lease"),
            &lease,
            "PX",
            "1500",
        ]);
        let notification = format!("{identity} other-{number} landed");
        redis.execute(&["PUBLISH", "fleet:notices", &notification]);
        let line = replicas[0].wait_for_log("state of another replica not used");
        assert!(line.contains(reason), "{line}");
        // A replica that starts reads every stored state, and its attempt replaces this one.
        let fresh = fixture.cluster.start_replicas(1);
        wait_for_readings(&fresh);
        for replica in replicas.iter().chain(&fresh) {
            assert_eq!(replica.source_a()["data"]["n"], 1);
            for target in ["/", "/metrics", "/salud/fuentes"] {
                assert_eq!(replica.get(target).status, 200, "{target}");
            }
            assert!(is_sharing(replica));
        }
        let errors = fresh[0].metric("resumen_store_errors_total{store=\"redis\"}");
        assert!(errors > 0.5, "{errors}");
    }
}

/// All of them in one reply would exceed what a connection may receive.
#[test]
fn many_large_values_end_no_session() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let more: Vec<String> = (0..35)
        .map(|n| {
            format!(
                "[sources.s{n}]\nurl = \"{}\"\n{ONE_ATTEMPT}\n",
                provider.url()
            )
        })
        .collect();
    let sources = shared_source_config(&provider, ONE_ATTEMPT) + &more.concat();
    let cluster = ReplicaCluster::new(&redis.url(), &sources);
    let replica = cluster.start_replica();
    wait_until("the stored states", || {
        redis
            .execute(&["KEYS", "fleet:*:letter"])
            .starts_with("*36\r\n")
    });
    replica.stop();
    let keys = redis.execute(&["KEYS", "fleet:*:letter"]);
    let large = "x".repeat(1 << 20);
    for key in keys.lines().filter(|line| line.ends_with(":letter")) {
        redis.execute(&["SET", key, &large]);
    }
    let replica = cluster.start_replica();
    wait_until("a session", || is_sharing(&replica));
    wait_for_readings(std::slice::from_ref(&replica));
    let log = replica.stop().stderr;
    assert!(!log.contains("shared store disconnected"), "{log}");
}
