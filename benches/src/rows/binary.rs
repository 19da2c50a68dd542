//! Row 11: the bytes of the agent's program as it was built.

use blackstart_tests::binary;

use crate::figure::{Figure, Goal};

/// Looks at the file.
pub(crate) fn measure() -> Vec<Figure> {
    let bytes = binary("blackstart-agent")
        .metadata()
        .expect("the program is there")
        .len();
    let megabytes = bytes as f64 / 1e6;
    vec![Figure::new(
        11,
        "agent binary with every default probe",
        megabytes,
        "MB",
        Goal::AtMost(12.0),
    )]
}
