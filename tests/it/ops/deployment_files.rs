//! What is shipped for machines: the image, the compose stack, the systemd units, the Kubernetes manifest. Here they are
//! read and checked; `python3 tests/stack` brings the stack up for real.

use std::fs;
use std::path::Path;
use std::process::Command;

use resumen::config;
use resumen::config::Config;
use yaml_rust2::{Yaml, YamlLoader};

const COMPOSE: &str = "docker-compose.yml";
const MANIFEST: &str = "config/deploy/kubernetes.yaml";
const SERVICE: &str = "config/deploy/resumen.service";

/// All documents of a file, with `<<` filled in.
fn load_yaml(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The configuration of a text, whose secrets' files lie in `secrets` instead of where the container has them.
fn load_mounted_config(path: &str, text: &str, mounted: &str, secrets: &str) -> Config {
    let text = text.replace(mounted, secrets);
    let parsed = config::parse(Path::new(path), text.as_bytes(), &|_| None);
    parsed.unwrap_or_else(|report| panic!("{path}: {}", report.render_text(false)))
}

#[test]
fn stack_configs_call_only_the_simulator() {
    let secrets = fs::canonicalize("config/compose/secrets").unwrap();
    for path in [
        "config/compose/simulated.toml",
        "config/compose/cluster.toml",
    ] {
        let text = fs::read_to_string(path).unwrap();
        let config = load_mounted_config(path, &text, "/run/secrets", secrets.to_str().unwrap());
        let asked = config.sources.iter().flat_map(|source| source.providers());
        let hosts: Vec<_> = asked
            .map(|provider| provider.request.url.host_str().unwrap().to_owned())
            .collect();
        assert!(
            !hosts.is_empty() && hosts.iter().all(|host| host == "simulate"),
            "{path}: {hosts:?}"
        );
        assert_eq!(
            config.store.redis.is_some(),
            path.contains("cluster"),
            "{path}"
        );
    }
}

#[test]
fn valkey_accepts_replica_password() {
    let read =
        |name: &str| fs::read_to_string(Path::new("config/compose/secrets").join(name)).unwrap();
    let digest = sha256(read("valkey_password").trim_end());
    assert!(
        read("valkey_users.acl").contains(&format!("#{digest}")),
        "no user has the digest {digest}"
    );
}

fn sha256(text: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", "printf %s \"$1\" | sha256sum", "sh", text])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn stack_services_are_confined_and_healthy() {
    let stack = &load_yaml(COMPOSE)[0];
    for (name, service) in stack["services"].as_hash().unwrap() {
        let name = name.as_str().unwrap();
        let has =
            |key: &str| find_key(service, key).unwrap_or_else(|| panic!("{name} has no {key}"));
        assert_eq!(has("read_only").as_bool(), Some(true), "{name}");
        assert_eq!(has("cap_drop")[0].as_str(), Some("ALL"), "{name}");
        assert_eq!(
            has("security_opt")[0].as_str(),
            Some("no-new-privileges:true"),
            "{name}"
        );
        for key in [
            "mem_limit",
            "cpus",
            "pids_limit",
            "restart",
            "logging",
            "networks",
        ] {
            has(key);
        }
        let image = has("image").as_str().unwrap();
        let pinned = image
            .rsplit_once(':')
            .is_some_and(|(_, tag)| tag.contains('.'));
        assert!(
            pinned || image.contains("RESUMEN_IMAGE"),
            "{name}: {image} is not pinned"
        );
        for port in find_key(service, "ports")
            .and_then(Yaml::as_vec)
            .into_iter()
            .flatten()
        {
            assert!(
                port.as_str()
                    .unwrap()
                    .starts_with("${RESUMEN_BIND:-127.0.0.1}:"),
                "{name} is open to the world"
            );
        }
        for (on, how) in find_key(service, "depends_on")
            .and_then(Yaml::as_hash)
            .into_iter()
            .flatten()
        {
            assert_eq!(
                how["condition"].as_str(),
                Some("service_healthy"),
                "{name} on {on:?}"
            );
        }
    }
}

/// A key of a mapping, or of what is merged into it.
fn find_key<'y>(mapping: &'y Yaml, key: &str) -> Option<&'y Yaml> {
    match &mapping[key] {
        Yaml::BadValue => Some(&mapping["<<"])
            .filter(|merged| !merged.is_badvalue())
            .and_then(|merged| find_key(merged, key)),
        value => Some(value),
    }
}

#[test]
fn stack_ports_are_unique() {
    let stack = &load_yaml(COMPOSE)[0];
    let services = stack["services"].as_hash().unwrap().values();
    let ports = services.flat_map(|service| service["ports"].as_vec().into_iter().flatten());
    let mut ports: Vec<_> = ports
        .map(|port| port.as_str().unwrap().split(":-").nth(2).unwrap())
        .collect();
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert!(all >= 5 && ports.len() == all, "{ports:?}");
}

#[test]
fn image_has_every_cargo_file() {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    for bench in manifest["bench"].as_array().unwrap() {
        let name = bench["name"].as_str().unwrap();
        assert!(
            dockerfile.contains(&format!("benches/{name}")),
            "the Dockerfile makes no stub of the bench {name}"
        );
    }
}

#[test]
fn kubernetes_probes_and_security_context() {
    let documents = load_yaml(MANIFEST);
    let of = |kind: &str| {
        documents
            .iter()
            .find(|one| one["kind"].as_str() == Some(kind))
            .unwrap()
    };
    let pod = &of("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let asked = |probe: &str| {
        container[probe]["httpGet"]["path"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        (asked("livenessProbe"), asked("readinessProbe")),
        ("/salud".into(), "/salud/listo".into())
    );
    let grace = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        .as_i64()
        .unwrap();
    let shutdown = config::ServerSettings::default().shutdown_grace.as_secs();
    assert!(
        pod["terminationGracePeriodSeconds"].as_i64().unwrap()
            > grace + i64::try_from(shutdown).unwrap()
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    let rights = &container["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(rights["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(rights["capabilities"]["drop"][0].as_str(), Some("ALL"));
    for mount in container["volumeMounts"].as_vec().unwrap() {
        assert!(
            mount["subPath"].is_badvalue(),
            "a subPath never changes in a running pod: {mount:?}"
        );
    }
    for kind in ["Service", "PodDisruptionBudget", "Deployment"] {
        assert!(
            contains_value(&of(kind)["spec"]["selector"], "resumen"),
            "{kind} selects something else"
        );
    }
}

fn contains_value(mapping: &Yaml, value: &str) -> bool {
    match mapping {
        Yaml::Hash(hash) => hash.values().any(|inner| contains_value(inner, value)),
        other => other.as_str() == Some(value),
    }
}

#[test]
fn manifest_config_is_valid() {
    let documents = load_yaml(MANIFEST);
    let of = |kind: &str| {
        documents
            .iter()
            .find(|one| one["kind"].as_str() == Some(kind))
            .unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in of("Secret")["stringData"].as_hash().unwrap() {
        fs::write(
            folder.path().join(name.as_str().unwrap()),
            value.as_str().unwrap(),
        )
        .unwrap();
    }
    let text = of("ConfigMap")["data"]["resumen.toml"].as_str().unwrap();
    let mounts = of("Deployment")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        .as_vec()
        .unwrap();
    let secrets = mounts
        .iter()
        .find(|mount| mount["name"].as_str() == Some("secrets"))
        .unwrap();
    let config = load_mounted_config(
        MANIFEST,
        text,
        secrets["mountPath"].as_str().unwrap(),
        folder.path().to_str().unwrap(),
    );
    assert_eq!(config.store.redis, None, "an empty URL is none");
    assert_eq!(config.sources.len(), 2);
    // What is commented out there is valid, too.
    let all = text
        .replace("# [", "[")
        .replace("# url", "url")
        .replace("# headers", "headers");
    let config = load_mounted_config(
        MANIFEST,
        &all,
        secrets["mountPath"].as_str().unwrap(),
        folder.path().to_str().unwrap(),
    );
    assert_eq!(config.sources.len(), 3);
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn systemd_units_pass_analysis() {
    if !Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "systemd-analyze is missing (Debian's systemd)");
        eprintln!("skipped: systemd-analyze is missing (Debian's systemd)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let service = fs::read_to_string(SERVICE)
        .unwrap()
        .replace("/usr/local/bin/resumen", env!("CARGO_BIN_EXE_resumen"));
    fs::write(folder.path().join("resumen.service"), service).unwrap();
    fs::copy(
        "config/deploy/resumen.socket",
        folder.path().join("resumen.socket"),
    )
    .unwrap();
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let said = analyze(&["verify", "./resumen.service", "./resumen.socket"]);
    assert!(!said.contains("resumen."), "{said}");
    analyze(&[
        "security",
        "--offline=yes",
        "--threshold=20",
        "./resumen.service",
    ]);
}
