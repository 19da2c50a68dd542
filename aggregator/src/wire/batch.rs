//! A batch of results, checked field by field.

use blackstart_graph::Status;
use blackstart_proto::limits::{BATCH_RESULTS_MAX, DETAIL_BYTES_MAX, TARGETS_MAX, VALUES_MAX};
use blackstart_proto::v1;

use super::{Invalid, id, name, without_controls};

/// The longest time to live of a result: a probe that runs once a week.
const TTL_MS_MAX: u32 = 8 * 86_400_000;

/// Results of one incarnation, consecutive in sequence; all that can be checked without knowing
/// the stream's targets has been.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) incarnation: u64,
    pub(crate) boot_id: String,
    pub(crate) first_sequence: u64,
    pub(crate) sent_boottime_us: u64,
    pub(crate) wall_offset_us: i64,
    pub(crate) definitions: Vec<Definition>,
    pub(crate) dropped_total: u64,
    results: Vec<v1::Result>,
}

/// Names what results are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) target: u32,
    pub(crate) component: String,
    pub(crate) check: String,
    pub(crate) value_names: Vec<String>,
    pub(crate) ttl_ms: u32,
}

/// One result as it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Observed<'a> {
    pub(crate) target: u32,
    pub(crate) sampled_boottime_us: u64,
    pub(crate) status: Status,
    pub(crate) progress: Option<f32>,
    /// `None`: as in the last result of this target on this stream.
    pub(crate) detail: Option<&'a str>,
    pub(crate) values: &'a [f64],
}

impl Batch {
    /// How many results there are.
    pub(crate) fn count(&self) -> usize {
        self.results.len()
    }

    /// The results, in the order of their sequences.
    pub(crate) fn results(&self) -> impl Iterator<Item = Observed<'_>> {
        self.results.iter().map(|result| Observed {
            target: result.target,
            sampled_boottime_us: result.sampled_boottime_us,
            // Checked when the batch was made.
            status: status(result.status).unwrap_or(Status::Unknown),
            progress: result.progress,
            detail: result.detail.as_deref(),
            values: &result.values,
        })
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = Invalid;

    fn try_from(mut batch: v1::Batch) -> Result<Self, Invalid> {
        let count = batch.results.len();
        if count > BATCH_RESULTS_MAX {
            let expected = format!("{BATCH_RESULTS_MAX} entries at most");
            return Err(Invalid::new("batch.results", count, expected));
        }
        if batch.first_sequence == 0 || batch.first_sequence > u64::MAX - BATCH_RESULTS_MAX as u64 {
            return Err(Invalid::new(
                "batch.first_sequence",
                batch.first_sequence,
                "a sequence, counted from 1",
            ));
        }
        if batch.definitions.len() > TARGETS_MAX {
            let expected = format!("{TARGETS_MAX} entries at most");
            return Err(Invalid::new(
                "batch.definitions",
                batch.definitions.len(),
                expected,
            ));
        }
        for (index, result) in batch.results.iter_mut().enumerate() {
            check(index, result)?;
        }
        let definitions = batch.definitions.into_iter().enumerate();
        Ok(Self {
            incarnation: batch.incarnation,
            boot_id: name("batch.boot_id", batch.boot_id)?,
            first_sequence: batch.first_sequence,
            sent_boottime_us: batch.sent_boottime_us,
            wall_offset_us: batch.wall_offset_us,
            definitions: definitions
                .map(|(index, definition)| define(index, definition))
                .collect::<Result<_, _>>()?,
            dropped_total: batch.dropped_total,
            results: batch.results,
        })
    }
}

fn define(index: usize, definition: v1::TargetDefinition) -> Result<Definition, Invalid> {
    let field = |name| format!("batch.definitions[{index}].{name}");
    let names = definition.value_names.len();
    if definition.target as usize >= TARGETS_MAX {
        let expected = format!("a number below {TARGETS_MAX}");
        return Err(Invalid::new(field("target"), definition.target, expected));
    }
    if names > VALUES_MAX {
        let expected = format!("{VALUES_MAX} entries at most");
        return Err(Invalid::new(field("value_names"), names, expected));
    }
    if !(1..=TTL_MS_MAX).contains(&definition.ttl_ms) {
        let expected = format!("1 to {TTL_MS_MAX}");
        return Err(Invalid::new(field("ttl_ms"), definition.ttl_ms, expected));
    }
    let value_names = definition.value_names.into_iter();
    Ok(Definition {
        target: definition.target,
        component: id(&field("component"), definition.component)?,
        check: name(&field("check"), definition.check)?,
        value_names: value_names
            .map(|value| name(&field("value_names"), value))
            .collect::<Result<_, _>>()?,
        ttl_ms: definition.ttl_ms,
    })
}

/// Checks a result; cleans its text, and what is infinite was not measured.
fn check(index: usize, result: &mut v1::Result) -> Result<(), Invalid> {
    let field = |name| format!("batch.results[{index}].{name}");
    let Some(status) = status(result.status) else {
        return Err(Invalid::new(
            field("status"),
            result.status,
            "a status from 1 to 5",
        ));
    };
    if let Some(progress) = result.progress {
        if status != Status::Starting {
            return Err(Invalid::new(
                field("progress"),
                progress,
                "none, as its status is not STATUS_STARTING",
            ));
        }
        if !(0.0..=1.0).contains(&progress) {
            return Err(Invalid::new(field("progress"), progress, "0 to 1"));
        }
    }
    if result.values.len() > VALUES_MAX {
        let expected = format!("{VALUES_MAX} entries at most");
        return Err(Invalid::new(field("values"), result.values.len(), expected));
    }
    for value in &mut result.values {
        if value.is_infinite() {
            *value = f64::NAN;
        }
    }
    if let Some(detail) = &mut result.detail {
        if detail.len() > DETAIL_BYTES_MAX {
            let expected = format!("{DETAIL_BYTES_MAX} bytes at most");
            return Err(Invalid::new(field("detail"), &*detail, expected));
        }
        if let Some(clean) = without_controls(detail) {
            *detail = clean;
        }
    }
    Ok(())
}

fn status(code: i32) -> Option<Status> {
    match v1::Status::try_from(code).ok()? {
        v1::Status::Unspecified => None,
        v1::Status::Ok => Some(Status::Ok),
        v1::Status::Degraded => Some(Status::Degraded),
        v1::Status::Starting => Some(Status::Starting),
        v1::Status::Failed => Some(Status::Failed),
        v1::Status::Unknown => Some(Status::Unknown),
    }
}
