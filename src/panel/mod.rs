//! The panel, a web page for people: its files, and the history of its charts.

mod appearance;
mod assets;
mod definition;
mod history;
mod series;

pub(crate) use appearance::appearance_document;
pub(crate) use assets::{PanelAsset, PanelAssets};
pub(crate) use definition::definition_document;
pub(crate) use history::PanelHistory;
