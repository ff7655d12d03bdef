//! State on disk: the serialised form of a source's state, the versioned format of the state file,
//! and the file itself.
//!
//! A state file is one more publisher and one more subscriber of the cache: the records that it
//! returns are merged newest-wins, and a failed operation never fails a request. What a store returns
//! is checked like what a provider returns: its writers may be hostile. URLs, headers and
//! secrets are not part of the state.

mod dto;
mod file_format;
pub(crate) mod private_file;
mod state_file;
mod stored_data;

pub use dto::RecordError;
pub(crate) use dto::SourceRecordDto;
pub use file_format::{
    DecodedStateFile, StateFileContent, StateFormatError, decode_state_file, encode_state_file,
};
pub use state_file::{LoadedState, StateFile, StateFileError};
