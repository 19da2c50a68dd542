//! What the numbers of one stream stand for, and from a batch to a journal entry.
//!
//! A detail that did not change is not sent again by an agent and not written again by us. Every
//! entry must make sense where it stands in the journal, though: behind a gap, a duplicate that
//! was skipped or a result that came late, the detail is written out.

use std::sync::Arc;

use blackstart_proto::limits::DETAIL_BYTES_MAX;
use bytes::Bytes;

use crate::dating::Dating;
use crate::entry::{ResultRecord, ResultsHead, ResultsWriter};
use crate::series::{Series, SeriesTable, TooManySeries};
use crate::wire::Invalid;
use crate::wire::batch::{Batch, Definition};

/// What a result takes in an entry, its detail and values aside, at most.
const RESULT_BYTES_MAX: usize = 32;

/// What the targets of one stream stand for.
#[derive(Debug)]
pub(crate) struct Targets {
    vantage: Arc<str>,
    by_number: Vec<Option<Target>>,
}

#[derive(Debug)]
struct Target {
    series: u32,
    values_max: usize,
    /// The last detail on this stream.
    detail: Box<str>,
    /// The next result must carry it, changed or not.
    write_detail: bool,
    newest_us: i64,
}

impl Targets {
    pub(crate) fn new(vantage: &str) -> Self {
        Self {
            vantage: vantage.into(),
            by_number: Vec::new(),
        }
    }

    /// Takes a definition; one before it of the same target is forgotten.
    pub(crate) fn define(
        &mut self,
        definition: Definition,
        series: &SeriesTable,
    ) -> Result<(), TooManySeries> {
        // Below TARGETS_MAX: checked when the message was read.
        let number = definition.target as usize;
        let values_max = definition.value_names.len();
        let id = series.intern(Series {
            component: definition.component.into(),
            check: definition.check.into(),
            vantage: self.vantage.clone(),
            ttl_ms: definition.ttl_ms,
            value_names: definition.value_names.into(),
        })?;
        if number >= self.by_number.len() {
            self.by_number.resize_with(number + 1, || None);
        }
        // Defined anew with another time to live, its last result is still its last result.
        let before = self.by_number[number]
            .take()
            .filter(|before| series.are_of_one_target(before.series, id));
        let (detail, newest_us) = before.map_or_else(
            || ("".into(), i64::MIN),
            |before| (before.detail, before.newest_us),
        );
        self.by_number[number] = Some(Target {
            series: id,
            values_max,
            detail,
            write_detail: true,
            newest_us,
        });
        Ok(())
    }

    /// Checks that every result of a batch is about a defined target; returns the most bytes that
    /// its entry can have.
    pub(crate) fn check(&self, batch: &Batch) -> Result<usize, Invalid> {
        let mut bytes = RESULT_BYTES_MAX + self.vantage.len();
        for (index, result) in batch.results().enumerate() {
            let Some(target) = self.get(result.target) else {
                return Err(Invalid::new(
                    format!("batch.results[{index}].target"),
                    result.target,
                    "a target that was defined on this stream",
                ));
            };
            let values = result.values.len();
            if values > target.values_max {
                return Err(Invalid::new(
                    format!("batch.results[{index}].values"),
                    values,
                    format!("{} entries at most, as defined", target.values_max),
                ));
            }
            let detail = result
                .detail
                .map_or(target.detail.len(), |text| text.len().min(DETAIL_BYTES_MAX));
            // A later result of this batch may have to repeat the detail of an earlier one.
            bytes += RESULT_BYTES_MAX + 8 * values + detail.max(target.detail.len());
        }
        Ok(bytes)
    }

    /// Writes the results of a checked batch behind the first `skip`.
    pub(crate) fn write(
        &mut self,
        batch: &Batch,
        skip: usize,
        head: ResultsHead<'_>,
        dating: Dating,
        bytes_max: usize,
    ) -> Bytes {
        let mut writer = ResultsWriter::new(head, bytes_max);
        for (index, result) in batch.results().enumerate() {
            let number = result.target as usize;
            let Some(target) = self.by_number.get_mut(number).and_then(Option::as_mut) else {
                // Only a batch that was not checked gets here.
                continue;
            };
            if let Some(detail) = result.detail
                && *target.detail != *detail
            {
                target.detail = detail.into();
                target.write_detail = true;
            }
            if index < skip {
                target.write_detail = true;
                continue;
            }
            let sampled_us = dating.date(result.sampled_boottime_us);
            let is_late = sampled_us < target.newest_us;
            let write_detail = target.write_detail || is_late;
            let record = ResultRecord {
                series: target.series,
                sampled_us,
                status: result.status,
                progress: result.progress,
                detail: write_detail.then_some(&*target.detail),
            };
            writer.push(&record, result.values);
            target.write_detail = is_late;
            target.newest_us = target.newest_us.max(sampled_us);
        }
        writer.finish()
    }

    fn get(&self, number: u32) -> Option<&Target> {
        self.by_number.get(number as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::dating::Offsets;
    use crate::entry::EntryReader;
    use blackstart_proto::v1;
    use tokio::time::Instant;

    fn dating() -> Dating {
        let now = Moment {
            wall_us: 2_000_000_000,
            instant: Instant::now(),
        };
        Offsets::new(now, 1_000_000_000, now.wall_us).present_boot(now)
    }

    fn batch(results: &[(u64, Option<&str>)]) -> Batch {
        let results = results.iter().map(|(boottime_us, detail)| v1::Result {
            sampled_boottime_us: *boottime_us,
            status: 1,
            detail: detail.map(str::to_owned),
            ..v1::Result::default()
        });
        Batch::try_from(v1::Batch {
            boot_id: "b".to_owned(),
            first_sequence: 1,
            results: results.collect(),
            ..v1::Batch::default()
        })
        .unwrap()
    }

    fn targets() -> Targets {
        let mut targets = Targets::new("web-1");
        let definition = Definition {
            target: 0,
            component: "etcd-1".to_owned(),
            check: "etcd.member".to_owned(),
            value_names: vec![],
            ttl_ms: 1_000,
        };
        targets.define(definition, &SeriesTable::default()).unwrap();
        targets
    }

    fn details(targets: &mut Targets, batch: &Batch, skip: usize) -> Vec<Option<String>> {
        let head = ResultsHead {
            host: "web-1",
            incarnation: 1,
            first_sequence: 1 + skip as u64,
            count: batch.count() - skip,
        };
        let bytes_max = targets.check(batch).unwrap();
        let bytes = targets.write(batch, skip, head, dating(), bytes_max);
        assert!(
            bytes.len() <= bytes_max + 32,
            "{} > {bytes_max}",
            bytes.len()
        );
        let EntryReader::Results(_, mut reader) = EntryReader::new(&bytes).unwrap() else {
            panic!("not results")
        };
        let mut values = Vec::new();
        let mut details = Vec::new();
        while let Some(result) = reader.next(&mut values).unwrap() {
            details.push(result.detail.map(str::to_owned));
        }
        details
    }

    fn said(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_unchanged_detail_is_written_once() {
        let mut targets = targets();
        let first = batch(&[
            (1, Some("fine")),
            (2, None),
            (3, Some("fine")),
            (4, Some("bad")),
        ]);
        assert_eq!(
            details(&mut targets, &first, 0),
            [said("fine"), None, None, said("bad")]
        );
        assert_eq!(details(&mut targets, &batch(&[(5, None)]), 0), [None]);
    }

    #[test]
    fn behind_a_skipped_duplicate_the_detail_is_written_out() {
        let twice = batch(&[(1, Some("fine")), (2, None), (3, None)]);
        assert_eq!(details(&mut targets(), &twice, 1), [said("fine"), None]);
    }

    #[test]
    fn what_comes_late_and_what_comes_behind_it_carry_their_detail() {
        let mut targets = targets();
        let late = batch(&[(5, Some("new")), (2, None), (6, None), (7, None)]);
        assert_eq!(
            details(&mut targets, &late, 0),
            [said("new"), said("new"), said("new"), None]
        );
    }

    #[test]
    fn a_target_that_nobody_defined_is_refused() {
        let targets = Targets::new("web-1");
        assert_eq!(
            targets.check(&batch(&[(1, None)])).unwrap_err().to_string(),
            "batch.results[0].target is 0, expected a target that was defined on this stream"
        );
    }
}
