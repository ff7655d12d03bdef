//! `docs/threat-model.md`: the files that it names as proofs exist.

use std::path::Path;

use crate::support::markdown::markdown_sections;

#[test]
fn threat_model_proofs_exist() {
    let sections = markdown_sections("threat-model.md");
    let threats = sections
        .iter()
        .find(|section| section.heading == "What is done")
        .unwrap()
        .table_rows();
    assert!(threats.len() > 15);
    for row in threats {
        let proofs: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        assert!(!proofs.is_empty(), "{row:?}");
        for proof in proofs {
            assert!(
                Path::new(proof).exists(),
                "{proof} is missing, the proof of: {}",
                row[1]
            );
        }
    }
}
