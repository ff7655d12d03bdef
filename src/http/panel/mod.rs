//! The panel: a web page that people leave open on a wall, and what its lines remember.
//!
//! Imports `cache`, `domain` and its neighbours in `http`. The page is static; all that it shows comes from the routes
//! that everyone has. Provider text reaches it as JSON and is only ever set as text, which the page's own policy enforces.

mod answer;
mod history;
mod page;
mod track;

pub(super) use answer::{get_panel, get_panel_asset, get_panel_history};
pub(super) use history::PanelHistory;
pub(super) use page::PanelAssets;
