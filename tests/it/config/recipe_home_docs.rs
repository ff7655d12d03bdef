//! `docs/recipes-home.md`: every block is valid, and gives its documented result from a server that requires its credential.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::recipe_docs::load_recipe;
use crate::support::login_server::{LoginRequest, LoginServer, response};
use crate::support::markdown::{MarkdownSection, markdown_sections};
use crate::support::test_app::TestApp;

const PAGE: &str = "recipes-home.md";
const BEARER: &str = "Bearer an-example-key";
const BASIC_ADMIN: &str = "Basic YWRtaW46YW4tZXhhbXBsZS1rZXk="; // admin:an-example-key
const BASIC_KEY: &str = "Basic a2V5OmFuLWV4YW1wbGUta2V5"; // key:an-example-key
const BASIC_CLIENT: &str = "Basic YS1jbGllbnQtaWQ6YW4tZXhhbXBsZS1rZXk="; // a-client-id:an-example-key
const DIGEST: &str = "Digest username=\"admin\", realm=\"a device\"";

/// What the server of each recipe requires: the source, how the target of the request begins, a header, how its value begins.
#[rustfmt::skip]
const REQUESTS: [(&str, &str, &str, &str); 20] = [
    ("living_room", "/api/states/sensor.living_room_temperature ", "authorization", BEARER),
    ("heater", "/status ", "authorization", BASIC_ADMIN),
    ("washer", "/rpc/Switch.GetStatus?id=0 ", "authorization", DIGEST),
    ("fridge", "/cm?cmnd=Status%208&user=admin&password=an-example-key ", "accept", "application/json"),
    ("solar", "/solar_api/v1/GetPowerFlowRealtimeData.fcgi ", "accept", "application/json"),
    ("solar_week", "/solar_api/v1/GetArchiveData.cgi?Scope=System&", "accept", "application/json"),
    ("solaredge", "/site/123456/energy?timeUnit=DAY&", "accept", "application/json"),
    ("printer", "/api/printer ", "x-api-key", "an-example-key"),
    ("pihole", "/api/stats/summary ", "x-ftl-sid", "a-session-id+/="),
    ("adguard", "/control/stats ", "authorization", BASIC_ADMIN),
    ("pve", "/api2/json/nodes/pve/status ", "authorization", "PVEAPIToken=monitor@pve!resumen=an-example-key"),
    ("nas", "/api/v2.0/pool ", "authorization", BEARER),
    ("uptime", "/metrics ", "authorization", BASIC_KEY),
    ("jellyfin", "/Sessions ", "authorization", "MediaBrowser Token=\"an-example-key\""),
    ("immich", "/api/server/statistics ", "x-api-key", "an-example-key"),
    ("nextcloud", "/ocs/v2.php/apps/serverinfo/api/v1/info?format=json&skipApps=true", "authorization", BASIC_ADMIN),
    ("torrents", "/api/v2/transfer/info ", "cookie", "QBT_SID_8080=a-session"),
    ("plex", "/api/v2?cmd=get_activity&apikey=an-example-key ", "accept", "application/json"),
    ("actions", "/repos/example-org/example/actions/runs?branch=main&per_page=1 ", "authorization", BEARER),
    ("rte", "/open_api/wholesale_market/v3/france_power_exchanges ", "authorization", "Bearer an-access-token"),
];

/// A recipe: its section, its block and the name of its source.
struct HomeRecipe {
    section: MarkdownSection,
    block: String,
    source: String,
}

impl HomeRecipe {
    /// A response of the service from the files of the tests.
    fn sample(&self, kind: &str) -> String {
        let path = format!("tests/corpus/recipes/{}.{kind}", self.source);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn body(&self) -> String {
        let is_metrics = self.block.contains("format = \"prometheus\"");
        self.sample(if is_metrics { "prom" } else { "json" })
    }

    fn documented_result(&self) -> Value {
        serde_json::from_str(self.section.blocks_in_language("json")[0]).unwrap()
    }

    /// Runs the service with the block, whose URLs become those of the server, until its first attempt has ended.
    fn play(&self, server: &LoginServer) -> Value {
        // The server of the test has no TLS.
        let lines = self
            .block
            .lines()
            .filter(|line| !line.starts_with("ca_file"));
        let lines = lines.map(|line| match line.strip_prefix("url = \"") {
            Some(url) => {
                let path = url.splitn(4, '/').last().unwrap();
                format!("url = \"{}", server.url("/")) + path
            }
            None => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = load_recipe(&format!("[store]\npath = ''\n{text}"));
        let app = TestApp::start_with_config(&config);
        let answer = app.wait_for_json("/resumen?timeout=5", |answer| {
            answer["resultados"][&self.source]["code"] != "pending"
        });
        answer["resultados"][&self.source].clone()
    }
}

fn load_home_recipes() -> Vec<HomeRecipe> {
    let sections = markdown_sections(PAGE).into_iter();
    let recipes = sections.filter_map(|section| {
        let block = (*section.blocks_in_language("toml").first()?).to_owned();
        let (_, rest) = block.split_once("[sources.").unwrap();
        let source = rest.split(']').next().unwrap().to_owned();
        Some(HomeRecipe {
            section,
            block,
            source,
        })
    });
    recipes.collect()
}

fn home_recipe(source: &str) -> HomeRecipe {
    let mut recipes = load_home_recipes().into_iter();
    recipes.find(|recipe| recipe.source == source).unwrap()
}

fn refusal(challenge: &str) -> String {
    response("401 Unauthorized", challenge, r#"{"error":"not allowed"}"#)
}

/// A server that gives the sample to a request as `REQUESTS` has it, and refuses others.
fn strict_server(recipe: &HomeRecipe) -> LoginServer {
    let (_, target, header, value) = REQUESTS
        .into_iter()
        .find(|row| row.0 == recipe.source)
        .unwrap();
    let body = recipe.body();
    let login = recipe.block.starts_with("[auth.").then(|| {
        if recipe.block.contains("cookies = true") {
            response(
                "204 No Content",
                "Set-Cookie: QBT_SID_8080=a-session; HttpOnly; path=/\r\n",
                "",
            )
        } else {
            response("200 OK", "", &recipe.sample("login.json"))
        }
    });
    let expected_line = format!("GET {target}");
    LoginServer::start(move |request| {
        let given = request.header(header).unwrap_or_default();
        match &login {
            Some(login) if request.line.starts_with("POST ") && is_allowed_login(request) => {
                login.clone()
            }
            _ if request.line.starts_with(&expected_line) && given.starts_with(value) => {
                response("200 OK", "", &body)
            }
            _ => refusal(
                "WWW-Authenticate: Digest realm=\"a device\", qop=\"auth\", nonce=\"1\", algorithm=SHA-256\r\n",
            ),
        }
    })
}

/// Returns whether the server of Pi-hole, qBittorrent or RTE would accept this login.
fn is_allowed_login(request: &LoginRequest) -> bool {
    if request.is_for("/token/oauth/") {
        return request.body == "grant_type=client_credentials"
            && request.header("authorization").map(str::trim) == Some(BASIC_CLIENT);
    }
    if request.is_for("/api/v2/auth/login") {
        return request.body == "username=admin&password=an-example-key";
    }
    let sent: Value = serde_json::from_str(&request.body).unwrap();
    request.is_for("/api/auth") && sent == json!({"password": "an-example-key"})
}

#[test]
fn home_recipes_give_no_warnings() {
    let recipes = load_home_recipes();
    for recipe in &recipes {
        let config = load_recipe(&recipe.block);
        assert_eq!(config.warnings, [], "{}", recipe.source);
        assert_eq!(config.sources[0].name.as_str(), recipe.source);
    }
    let blocks: Vec<_> = recipes.iter().map(|recipe| &*recipe.block).collect();
    assert_eq!(load_recipe(&blocks.concat()).warnings, []);
}

#[test]
fn home_recipes_work_from_login_to_result() {
    for recipe in load_home_recipes() {
        let server = strict_server(&recipe);
        let reading = recipe.play(&server);
        assert_eq!(
            reading["data"],
            recipe.documented_result(),
            "{}: {reading}\n{:#?}",
            recipe.source,
            server.requests_for("/")
        );
    }
}

#[test]
fn home_recipes_send_last_seven_days() {
    for (source, keys) in [
        ("solar_week", ["StartDate=", "EndDate="]),
        ("solaredge", ["startDate=", "endDate="]),
    ] {
        let recipe = home_recipe(source);
        let server = strict_server(&recipe);
        recipe.play(&server);
        let line = server.requests_for("/").swap_remove(0).line;
        let [start, end] = keys.map(|key| -> Date {
            let (_, rest) = line.split_once(key).unwrap();
            rest.split(['&', ' ']).next().unwrap().parse().unwrap()
        });
        assert_eq!((end - start).get_days(), 6, "{line}");
    }
}

#[test]
fn absent_printer_is_data() {
    let server = LoginServer::start(|_| {
        let body = r#"{"error":"Printer is not operational"}"#;
        response("409 CONFLICT", "", body)
    });
    let reading = home_recipe("printer").play(&server);
    assert_eq!(reading["data"], json!({"state": "off"}), "{reading}");
}

/// Services that report errors with status 200, and what the recipe says of them.
#[test]
fn reported_errors_become_failures() {
    for (source, body, reason) in [
        (
            "fridge",
            r#"{"WARNING":"Need user=<username>&password=<password>"}"#,
            "Need user",
        ),
        (
            "solar",
            r#"{"Body":{},"Head":{"Status":{"Code":12,"Reason":"no devices"}}}"#,
            "no devices",
        ),
        (
            "plex",
            r#"{"response":{"result":"error","message":"Invalid apikey","data":{}}}"#,
            "Invalid apikey",
        ),
        (
            "nextcloud",
            r#"{"ocs":{"meta":{"status":"failure","message":"not allowed here"},"data":[]}}"#,
            "not allowed here",
        ),
        (
            "living_room",
            r#"{"state":"unavailable","last_changed":"2026-11-28T07:12:03Z"}"#,
            "unavailable",
        ),
        (
            "actions",
            r#"{"total_count":0,"workflow_runs":[]}"#,
            "no runs",
        ),
        ("rte", r#"{"france_power_exchanges":[]}"#, "no prices yet"),
    ] {
        let login = home_recipe("rte").sample("login.json");
        let server = LoginServer::start(move |request| {
            let is_login = request.line.starts_with("POST ");
            response("200 OK", "", if is_login { &login } else { body })
        });
        let reading = home_recipe(source).play(&server);
        let error = reading["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{source}: {reading}");
    }
}

/// Up to version 5.1, qBittorrent answers a wrong password with status 200 and without a cookie.
#[test]
fn refused_cookie_login_is_a_failure() {
    let server = LoginServer::start(|_| response("200 OK", "", "Fails."));
    let reading = home_recipe("torrents").play(&server);
    assert_eq!(reading["code"], "auth_failed", "{reading}");
}

#[test]
fn home_recipe_table_matches_recipes() {
    let rows = markdown_sections(PAGE).swap_remove(0).table_rows();
    let listed: Vec<_> = rows.iter().map(|row| (&*row[0], &*row[1])).collect();
    let recipes = load_home_recipes();
    let links: Vec<_> = recipes
        .iter()
        .map(|recipe| {
            format!(
                "[`{}`](#{})",
                recipe.source,
                recipe.section.heading_anchor()
            )
        })
        .collect();
    let expected: Vec<_> = links
        .iter()
        .zip(&recipes)
        .map(|(link, recipe)| (&**link, &*recipe.section.heading))
        .collect();
    assert_eq!(listed, expected);
    for recipe in &recipes {
        for label in ["- **Key**: ", "- **Watch**: "] {
            let text = &recipe.section.text;
            assert!(text.contains(label), "{} lacks {label}", recipe.source);
        }
    }
}
