//! The panel: the web page, its assets and the history of its charts.

mod assets;
mod history;
mod series;

pub(crate) use assets::{PanelAsset, PanelAssets};
pub(crate) use history::PanelHistory;
