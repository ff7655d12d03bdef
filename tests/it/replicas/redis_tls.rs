//! Redis over TLS: a private authority, and the message of every reason why the connection fails.

use std::fs;

use crate::support::fake_provider::FakeProvider;
use crate::support::fake_provider::test_certificates::{CertificateKind, test_ca_pem};
use crate::support::redis_server::RedisServer;
use crate::support::replica_cluster::{
    ReplicaCluster, SCHEDULE_KEYS, is_sharing, shared_source_config, wait_for_readings,
};
use crate::support::service_process::ServiceProcess;
use crate::support::wait::wait_until;

/// A TLS port of Redis with the password `open-sesame-1` and a user `reader`.
fn start_redis(kind: CertificateKind) -> Option<(RedisServer, u16)> {
    let user = [
        "--user",
        "reader",
        "on",
        ">open-barley-2",
        "~*",
        "&*",
        "+@all",
    ];
    let options = [&["--requirepass", "open-sesame-1"], &user[..]].concat();
    RedisServer::start_with_tls(kind, &options)
}

/// Replicas with this URL of Redis and the PEM of an authority in `redis_ca_file`.
fn create_cluster(url: &str, ca_pem: Option<&str>, provider: &FakeProvider) -> ReplicaCluster {
    let ca_key = ca_pem.map_or("", |_| "redis_ca_file = \"ca.pem\"");
    let keys = format!("redis = \"{url}\"\n{ca_key}");
    let cluster =
        ReplicaCluster::with_store_keys(&keys, &shared_source_config(provider, SCHEDULE_KEYS));
    fs::write(
        cluster.folder().path().join("ca.pem"),
        ca_pem.unwrap_or_default(),
    )
    .unwrap();
    cluster
}

#[test]
fn rediss_shares_with_private_authority() {
    let Some((_redis, port)) = start_redis(CertificateKind::Good) else {
        return;
    };
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let url = format!("rediss://reader:open-barley-2@localhost:{port}/3");
    let cluster = create_cluster(&url, Some(&test_ca_pem()), &provider);
    let replicas = cluster.start_replicas(2);
    wait_for_readings(&replicas);
    assert!(replicas.iter().all(is_sharing));

    // The authority cannot change while the service runs; the reading stays.
    let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    fs::write(cluster.folder().path().join("ca.pem"), other.cert.pem()).unwrap();
    let line = replicas[0].wait_for_log("only a restart can change");
    assert!(line.contains("store.redis_ca_file"), "{line}");
    assert!(replicas.iter().all(is_sharing));
}

/// The message of the failed connection, in the health of the store.
fn connection_error(replica: &ServiceProcess) -> String {
    wait_until("standalone mode", || {
        let health = replica.get_json("/salud/fuentes");
        health["checks"]["store:redis"][0]["role"] == "alone"
    });
    assert_eq!(replica.source_a()["ok"], true);
    let health = replica.get_json("/salud/fuentes");
    let output = &health["checks"]["store:redis"][0]["output"];
    let error = output.as_str().unwrap_or_default();
    error.trim_start_matches("failed to ").to_owned()
}

#[test]
fn ca_file_without_tls_warns() {
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    for (url, is_warned) in [("redis://h", true), ("rediss://h", false)] {
        let cluster = create_cluster(url, Some(&test_ca_pem()), &provider);
        let output = cluster.folder().run("check", &[]);
        assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
        let text = format!("{}{}", output.stdout, output.stderr);
        let warning = "`redis_ca_file` has no effect";
        assert_eq!(text.contains(warning), is_warned, "{text}");
    }
}

#[test]
fn rediss_failures_are_named() {
    let Some((good, good_port)) = start_redis(CertificateKind::Good) else {
        return;
    };
    let (_wrong, wrong_port) = start_redis(CertificateKind::WrongName).unwrap();
    let (_expired, expired_port) = start_redis(CertificateKind::Expired).unwrap();
    let provider = FakeProvider::with_json(r#"{"n":1}"#);
    let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    let (other_ca, test_ca) = (other.cert.pem(), test_ca_pem());
    let (plain_port, password) = (good.address.port(), "open-sesame-1");
    let cases = [
        (None, good_port, password, "unknown authority"),
        (Some(&other_ca), good_port, password, "`redis_ca_file`"),
        (Some(&test_ca), wrong_port, password, "another name"),
        (Some(&test_ca), expired_port, password, "has expired"),
        (
            Some(&test_ca),
            plain_port,
            password,
            "the port is without TLS",
        ),
        (Some(&test_ca), good_port, "open-barley-3", "WRONGPASS"),
    ];
    for (ca_pem, port, password, expected) in cases {
        let url = format!("rediss://:{password}@127.0.0.1:{port}");
        let cluster = create_cluster(&url, ca_pem.map(String::as_str), &provider);
        let replica = cluster.start_replica();
        let error = connection_error(&replica);
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        let log = replica.stop().stderr;
        assert!(
            !error.contains(password) && !log.contains(password),
            "{error}\n{log}"
        );
    }
}
