//! The deployment files: image, Compose stack, systemd units and Kubernetes manifest. `python3 tests/stack`
//! runs the stack.

use std::fs;
use std::path::Path;
use std::process::Command;

use resumen::config;
use resumen::config::{Config, ServerSettings};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::requirements::require_program;

const COMPOSE: &str = "docker-compose.yml";
const MANIFEST: &str = "config/deploy/kubernetes.yaml";
const SERVICE: &str = "config/deploy/resumen.service";

/// All documents of a YAML file.
fn load_yaml(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Parses a configuration whose secret files are in `secrets` instead of `mounted`.
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
        let providers = config.sources.iter().flat_map(|source| source.providers());
        let hosts: Vec<_> = providers
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
    let read_secret =
        |name: &str| fs::read_to_string(Path::new("config/compose/secrets").join(name)).unwrap();
    let digest = sha256(read_secret("valkey_password").trim_end());
    assert!(
        read_secret("valkey_users.acl").contains(&format!("#{digest}")),
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
        let value_of =
            |key: &str| find_key(service, key).unwrap_or_else(|| panic!("{name} has no {key}"));
        assert_eq!(value_of("read_only").as_bool(), Some(true), "{name}");
        assert_eq!(value_of("cap_drop")[0].as_str(), Some("ALL"), "{name}");
        assert_eq!(
            value_of("security_opt")[0].as_str(),
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
            value_of(key);
        }
        let image = value_of("image").as_str().unwrap();
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
                "{name} listens on every interface"
            );
        }
        for (dependency, condition) in find_key(service, "depends_on")
            .and_then(Yaml::as_hash)
            .into_iter()
            .flatten()
        {
            assert_eq!(
                condition["condition"].as_str(),
                Some("service_healthy"),
                "{name} on {dependency:?}"
            );
        }
    }
}

/// The value of a key in a mapping, or in the mapping that `<<` merges.
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
    let count = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert!(count >= 5 && ports.len() == count, "{ports:?}");
}

#[test]
fn image_has_every_cargo_file() {
    let dockerfile = fs::read_to_string("Dockerfile").unwrap();
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    for bench in manifest["bench"].as_array().unwrap() {
        let name = bench["name"].as_str().unwrap();
        assert!(
            dockerfile.contains(&format!("benches/{name}")),
            "the Dockerfile has no stub of the bench {name}"
        );
    }
}

#[test]
fn kubernetes_probes_and_security_context() {
    let documents = load_yaml(MANIFEST);
    let document = |kind: &str| {
        documents
            .iter()
            .find(|one| one["kind"].as_str() == Some(kind))
            .unwrap()
    };
    let pod = &document("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let probe_path = |probe: &str| {
        container[probe]["httpGet"]["path"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        (probe_path("livenessProbe"), probe_path("readinessProbe")),
        ("/salud".into(), "/salud/listo".into())
    );
    let grace = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        .as_i64()
        .unwrap();
    let shutdown = ServerSettings::default().shutdown_grace.as_secs();
    assert!(
        pod["terminationGracePeriodSeconds"].as_i64().unwrap()
            > grace + i64::try_from(shutdown).unwrap()
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    let security_context = &container["securityContext"];
    assert_eq!(
        security_context["readOnlyRootFilesystem"].as_bool(),
        Some(true)
    );
    assert_eq!(
        security_context["allowPrivilegeEscalation"].as_bool(),
        Some(false)
    );
    assert_eq!(
        security_context["capabilities"]["drop"][0].as_str(),
        Some("ALL")
    );
    for mount in container["volumeMounts"].as_vec().unwrap() {
        assert!(
            mount["subPath"].is_badvalue(),
            "a subPath never changes in a running pod: {mount:?}"
        );
    }
    for kind in ["Service", "PodDisruptionBudget", "Deployment"] {
        assert!(
            contains_value(&document(kind)["spec"]["selector"], "resumen"),
            "{kind} has another selector"
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
    let document = |kind: &str| {
        documents
            .iter()
            .find(|one| one["kind"].as_str() == Some(kind))
            .unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in document("Secret")["stringData"].as_hash().unwrap() {
        fs::write(
            folder.path().join(name.as_str().unwrap()),
            value.as_str().unwrap(),
        )
        .unwrap();
    }
    let text = document("ConfigMap")["data"]["resumen.toml"]
        .as_str()
        .unwrap();
    let mounts =
        document("Deployment")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
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
    assert_eq!(config.store.redis, None, "an empty URL means no Redis");
    assert_eq!(config.sources.len(), 2);
    // The commented-out keys are valid as well.
    let uncommented = text
        .replace("# [", "[")
        .replace("# url", "url")
        .replace("# headers", "headers");
    let config = load_mounted_config(
        MANIFEST,
        &uncommented,
        secrets["mountPath"].as_str().unwrap(),
        folder.path().to_str().unwrap(),
    );
    assert_eq!(config.sources.len(), 3);
}

/// docs/limits.md adds up the memory of a container that has these variables.
#[test]
fn freed_memory_is_returned() {
    for path in ["Dockerfile", SERVICE, "docs/limits.md"] {
        let text = fs::read_to_string(path).unwrap();
        for variable in ["MALLOC_ARENA_MAX=2", "MALLOC_MMAP_THRESHOLD_=131072"] {
            assert!(text.contains(variable), "{path}: {variable}");
        }
    }
}

/// The first number after `key` in a file.
fn number_after(path: &str, key: &str) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text
        .split_once(key)
        .unwrap_or_else(|| panic!("{path} has no `{key}`"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Memory and connections: the default is lowered without a warning to what the memory allows, so that no
/// shipped configuration may have another one, and the parts of `docs/limits.md` need 128 MiB.
#[test]
fn shipped_limits_fit_together() {
    const SMALLEST_MIB: usize = 128;
    // The reserve of connections, and the descriptors for everything else.
    const OTHER_DESCRIPTORS: usize = 128 + 512;
    let default = ServerSettings::default().max_connections;
    for path in [
        "config/resumen.toml",
        "config/compose/simulated.toml",
        "config/compose/cluster.toml",
        MANIFEST,
    ] {
        let text = fs::read_to_string(path).unwrap();
        let is_other = |line: &str| {
            let value = line.trim().strip_prefix("max_connections = ")?;
            let number = value.split_whitespace().next()?;
            Some(number.parse() != Ok(default))
        };
        assert!(
            !text.lines().any(|line| is_other(line) == Some(true)),
            "{path}"
        );
    }
    for (path, memory, descriptors) in [
        (COMPOSE, "mem_limit: ", Some("nofile: ")),
        (SERVICE, "MemoryMax=", Some("LimitNOFILE=")),
        (MANIFEST, "limits: { memory: ", None),
    ] {
        assert!(number_after(path, memory) >= SMALLEST_MIB, "{path}");
        if let Some(key) = descriptors {
            let descriptors = number_after(path, key);
            assert!(descriptors >= default + OTHER_DESCRIPTORS, "{path}");
        }
    }
}

#[test]
fn systemd_units_pass_analysis() {
    if !require_program("systemd-analyze") {
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
        let report = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{report}");
        report
    };
    let report = analyze(&["verify", "./resumen.service", "./resumen.socket"]);
    assert!(!report.contains("resumen."), "{report}");
    analyze(&[
        "security",
        "--offline=yes",
        "--threshold=20",
        "./resumen.service",
    ]);
}
