//! `docs/threat-model.md`: what it names as proof exists.

use std::path::Path;

use crate::support::markdown::markdown_sections;

#[test]
fn threat_model_proofs_exist() {
    let parts = markdown_sections("threat-model.md");
    let threats = parts
        .iter()
        .find(|part| part.heading == "What is done")
        .unwrap()
        .table_rows();
    assert!(threats.len() > 15);
    for row in threats {
        let proofs: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        assert!(!proofs.is_empty(), "{row:?}");
        for proof in proofs {
            assert!(
                Path::new(proof).exists(),
                "{proof}, which is to prove: {}",
                row[1]
            );
        }
    }
}
