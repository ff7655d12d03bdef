//! A headless Chromium, driven by `WebDriver`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use resumen::process::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::{ParseError, Url};

use super::child_process::TestProcess;
use super::requirements::require_program;
use super::wait::WAIT_LIMIT;

/// Only one browser runs at a time: several slow each other down on a small machine.
static BROWSER_LOCK: Mutex<()> = Mutex::new(());

/// A browser with an empty profile, closed when dropped.
pub struct TestBrowser {
    client: Client,
    runtime: Runtime,
    _driver: TestProcess,
    _profile: TempDir,
    _browser_lock: MutexGuard<'static, ()>,
}

impl TestBrowser {
    /// Opens a browser whose user prefers this language. `None` if it is not installed.
    pub fn open(language: &str) -> Option<Self> {
        if !require_program("chromedriver") {
            return None;
        }
        let lock = BROWSER_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // The driver exits if its port is free under IPv4 and taken under IPv6.
        let (driver, port) = (0..5)
            .find_map(|_| start_driver())
            .expect("chromedriver does not start");
        let address = format!("http://127.0.0.1:{port}");
        let profile = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let capabilities = build_capabilities(profile.path(), language);
        builder.capabilities(serde_json::from_value(capabilities).unwrap());
        let client = runtime.block_on(builder.connect(&address)).unwrap();
        Some(Self {
            client,
            runtime,
            _driver: driver,
            _profile: profile,
            _browser_lock: lock,
        })
    }

    pub fn goto(&self, url: &str) {
        self.runtime.block_on(self.client.goto(url)).unwrap();
    }

    /// Returns what the script returns.
    pub fn execute_script(&self, script: &str) -> Value {
        let executed = self.client.execute(script, Vec::new());
        self.runtime.block_on(executed).unwrap()
    }

    /// Waits until the expression is neither `false` nor `null`, and returns its value.
    pub fn wait_for_expression(&self, expression: &str) -> Value {
        let clock = Clock::start();
        let end = clock.instant() + WAIT_LIMIT;
        loop {
            let value = self.execute_script(&format!("return ({expression})"));
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            let is_late = clock.instant() > end;
            assert!(
                !is_late,
                "not true: {expression}\nthe page: {}",
                self.describe_page()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The texts of the elements that match the selector.
    pub fn texts(&self, selector: &str) -> Value {
        self.execute_script(&format!("return {}", texts_script(selector)))
    }

    /// Waits until one of the elements that match the selector has this text.
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let texts = texts_script(selector);
        self.wait_for_expression(&format!("{texts}.includes({})", json!(text)));
    }

    /// Clicks the first element that this selector finds.
    pub fn click(&self, selector: &str) {
        let client = &self.client;
        let clicked = async { client.find(Locator::Css(selector)).await?.click().await };
        self.runtime.block_on(clicked).unwrap();
    }

    /// Runs a script in every page from now on, before the scripts of the page.
    pub fn add_script_to_new_pages(&self, script: &str) {
        self.send_devtools_command(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": script}),
        );
    }

    /// Sets the size of the window in pixels.
    pub fn set_window_size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.send_devtools_command("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sets a media feature: `("prefers-color-scheme", "dark")`.
    pub fn emulate_media_feature(&self, feature: &str, value: &str) {
        self.send_devtools_command(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": feature, "value": value}]}),
        );
    }

    pub fn press_tab_key(&self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key =
                json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.send_devtools_command("Input.dispatchKeyEvent", key);
        }
    }

    /// Bytes of the page's script heap after a collection, and number of its nodes.
    pub fn memory_use(&self) -> (f64, f64) {
        self.send_devtools_command("HeapProfiler.collectGarbage", json!({}));
        let heap = self.send_devtools_command("Runtime.getHeapUsage", json!({}));
        let counters = self.send_devtools_command("Memory.getDOMCounters", json!({}));
        let number = |value: &Value| value.as_f64().unwrap();
        (number(&heap["usedSize"]), number(&counters["nodes"]))
    }

    fn send_devtools_command(&self, command: &'static str, parameters: Value) -> Value {
        let command = DevtoolsCommand(command, parameters);
        self.runtime
            .block_on(self.client.issue_cmd(command))
            .unwrap()
    }

    fn describe_page(&self) -> Value {
        self.execute_script(
            "return [document.title, document.body.dataset.link, document.body.innerText]",
        )
    }
}

fn texts_script(selector: &str) -> String {
    let elements = format!("document.querySelectorAll({})", json!(selector));
    format!("[...{elements}].map((element) => element.textContent)")
}

/// A command of the Chrome `DevTools` Protocol.
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

/// Starts a driver; returns it with its port. `None` if it exits before it listens.
fn start_driver() -> Option<(TestProcess, u16)> {
    let mut command = Command::new("chromedriver");
    let driver = TestProcess::start(command.arg("--port=0").stdin(Stdio::null()));
    let line = driver
        .try_wait_for_stdout_line("successfully on port ")
        .ok()?;
    let (_, port) = line.trim_end().trim_end_matches('.').rsplit_once(' ')?;
    Some((driver, port.parse().ok()?))
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
