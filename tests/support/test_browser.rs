//! A real browser, driven by `WebDriver`: what a person would see of a page.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use resumen::process::Clock;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use super::test_app::WAIT_LIMIT;

/// Debian's chromium-driver.
const CHROMEDRIVER_PATH: &str = "/usr/bin/chromedriver";

/// Browsers take turns: several at once on a small machine make each other late.
static BROWSER_LOCK: Mutex<()> = Mutex::new(());

/// A browser with a profile of its own, closed when dropped.
pub struct TestBrowser {
    client: Option<Client>,
    runtime: Runtime,
    driver: Child,
    _profile: TempDir,
    _browser_lock: MutexGuard<'static, ()>,
}

impl TestBrowser {
    /// A browser of a reader of this language. None, and a word of it, where there is no driver, unless the environment
    /// says `RESUMEN_REQUIRE_ALL=1`.
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    pub fn open(language: &str) -> Option<Self> {
        if !Path::new(CHROMEDRIVER_PATH).exists() {
            let required =
                std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(
                !required,
                "{CHROMEDRIVER_PATH} is missing (Debian's chromium-driver)"
            );
            eprintln!("skipped: {CHROMEDRIVER_PATH} is missing (Debian's chromium-driver)");
            return None;
        }
        let turn = BROWSER_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // One that picks a port of IPv4 that is taken under IPv6 ends at once.
        let (driver, port) = (0..5)
            .find_map(|_| start_driver())
            .expect("the driver does not start");
        let address = format!("http://127.0.0.1:{port}");
        let profile = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(
            serde_json::from_value(build_capabilities(profile.path(), language)).unwrap(),
        );
        let client = runtime.block_on(builder.connect(&address)).unwrap();
        Some(Self {
            client: Some(client),
            runtime,
            driver,
            _profile: profile,
            _browser_lock: turn,
        })
    }

    /// Loads a page.
    pub fn goto(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).unwrap();
    }

    /// What this script returns.
    pub fn execute_script(&self, script: &str) -> Value {
        self.runtime
            .block_on(self.client().execute(script, Vec::new()))
            .unwrap()
    }

    /// What this expression is, once it is neither false nor nothing.
    pub fn wait_for_expression(&self, expression: &str) -> Value {
        let clock = Clock::start();
        let by = clock.instant() + WAIT_LIMIT * 2;
        loop {
            let value = self.execute_script(&format!("return ({expression})"));
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(
                clock.instant() < by,
                "never came: {expression}\nthe page: {}",
                self.describe_page()
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Clicks the first element that this selector finds.
    pub fn click(&self, selector: &str) {
        let client = self.client();
        let clicked = async { client.find(Locator::Css(selector)).await?.click().await };
        self.runtime.block_on(clicked).unwrap();
    }

    /// Runs a script in every page from now on, before any of its own.
    pub fn add_script_to_new_pages(&self, script: &str) {
        self.send_devtools_command(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": script}),
        );
    }

    /// Gives the page a window of this size, in pixels.
    pub fn set_window_size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.send_devtools_command("Emulation.setDeviceMetricsOverride", size);
    }

    /// Makes the reader one who prefers this: `("prefers-color-scheme", "dark")`.
    pub fn emulate_media_feature(&self, feature: &str, value: &str) {
        self.send_devtools_command(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": feature, "value": value}]}),
        );
    }

    /// Presses the tabulator key.
    pub fn press_tab_key(&self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.send_devtools_command("Input.dispatchKeyEvent", key);
        }
    }

    fn send_devtools_command(&self, command: &'static str, parameters: Value) {
        self.runtime
            .block_on(
                self.client()
                    .issue_cmd(DevtoolsCommand(command, parameters)),
            )
            .unwrap();
    }

    fn describe_page(&self) -> Value {
        self.execute_script(
            "return [document.title, document.body.dataset.link, document.body.innerText]",
        )
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }
}

impl Drop for TestBrowser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = kill_process_group(Pid::from_child(&self.driver), Signal::KILL);
        let _ = self.driver.wait();
    }
}

/// A command of the browser's own protocol, which the driver passes on.
#[derive(Debug)]
struct DevtoolsCommand(&'static str, Value);

impl WebDriverCompatibleCommand for DevtoolsCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/goog/cdp/execute",
            session.unwrap_or_default()
        ))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({"cmd": self.0, "params": self.1}).to_string()),
        )
    }
}

/// A driver that listens, and its port; none if it ended before it did.
fn start_driver() -> Option<(Child, u16)> {
    let mut command = Command::new(CHROMEDRIVER_PATH);
    command
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut driver = command.spawn().unwrap();
    let heard = watch_driver_port(driver.stdout.take().unwrap()).recv_timeout(WAIT_LIMIT);
    if heard.is_err() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    heard.ok().map(|port| (driver, port))
}

/// The port that the driver tells. Its log is read to its end: a driver that cannot write stops.
fn watch_driver_port(log: ChildStdout) -> Receiver<u16> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, port)) = line
                .trim_end_matches('.')
                .rsplit_once("successfully on port ")
            {
                let _ = sender.send(port.parse().unwrap());
            }
        }
    });
    receiver
}

fn build_capabilities(profile: &Path, language: &str) -> Value {
    let arguments = [
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        format!("--accept-lang={language}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments}})
}
