use std::ops::Range;

use arrow::array::RecordBatch;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::catalog::change::{ReferenceKey, SegmentKey, object_hash, object_key};
use crate::domain::{
    Allocation, Bound, CondemnedInstance, FlowId, FlowSegment, Instance, MediaObject, ObjectId, ObjectKind,
    ObjectPlace, StorageId, TimeRange, Timestamp, UtcTime,
};

const PAGE: usize = 16;

fn small() -> Layout {
    Layout { page_rows: PAGE, row_group_rows: 4 * PAGE, ..Layout::of(ColdTable::Objects) }
}

fn flow(dice: &mut StdRng) -> FlowId {
    FlowId::from_random([dice.random_range(0..5u8); 16])
}

fn timestamp(dice: &mut StdRng) -> Timestamp {
    match dice.random_range(0..5) {
        0 => Timestamp::MIN,
        1 => Timestamp::MAX,
        2 => Timestamp::ZERO,
        3 => Timestamp::from_nanoseconds(dice.random_range(-3..3)).unwrap(),
        _ => Timestamp::from_nanoseconds(dice.random_range(Timestamp::MIN.nanoseconds()..0)).unwrap(),
    }
}

fn timerange(dice: &mut StdRng) -> TimeRange {
    loop {
        let mut bound = || Some(Bound { at: timestamp(dice), inclusive: dice.random() });
        let range = TimeRange::new(bound(), bound());
        if range.is_bounded() {
            return range;
        }
    }
}

fn id(dice: &mut StdRng) -> ObjectId {
    let start = ["a", "日本", "ä/ö?", "~", "00000000-0000-4000-8000-"][dice.random_range(0..5)];
    format!("{start}{}", dice.random_range(0..200)).parse().unwrap()
}

fn maybe<T>(dice: &mut StdRng, value: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    dice.random::<bool>().then(|| value(dice))
}

fn lsn(dice: &mut StdRng) -> Lsn {
    let seq = [1, 77, i64::MAX.unsigned_abs()][dice.random_range(0..3)];
    Lsn { seq, index: [0, 5, u32::MAX][dice.random_range(0..3)] }
}

fn place(dice: &mut StdRng) -> ObjectPlace {
    ObjectPlace { flow_id: flow(dice), start: timerange(dice).start_key() }
}

fn segment(dice: &mut StdRng) -> FlowSegment {
    FlowSegment {
        flow_id: flow(dice),
        timerange: timerange(dice),
        object_id: id(dice),
        init_object: maybe(dice, id),
        ts_offset: timestamp(dice),
        last_duration: maybe(dice, timestamp),
        sample_offset: maybe(dice, |dice| dice.random()),
        sample_count: maybe(dice, |dice| dice.random()),
        object_place: maybe(dice, place),
        registered: maybe(dice, time),
    }
}

fn time(dice: &mut StdRng) -> UtcTime {
    UtcTime::from_timestamp_micros(dice.random_range(-5..1 << 50)).unwrap()
}

fn object(dice: &mut StdRng) -> MediaObject {
    let storage_id = StorageId::from_random([7; 16]);
    let instance = |dice: &mut StdRng| match dice.random_range(0..3) {
        0 => Instance::Controlled { storage_id, key: format!("key{}", dice.random::<u32>()) },
        1 => Instance::Uncontrolled { url: "https://ä.example/ö".into(), label: Some("l".into()) },
        _ => Instance::Uncontrolled { url: String::new(), label: None },
    };
    let gone = CondemnedInstance { storage_id, key: "gone".into() };
    let (own_id, created) = (id(dice), time(dice));
    let own = Instance::Controlled { storage_id, key: MediaObject::own_key(&own_id, created) };
    MediaObject {
        id: own_id,
        kind: [None, Some(ObjectKind::Media), Some(ObjectKind::Init)][dice.random_range(0..3)],
        first_flow: flow(dice),
        timerange: maybe(dice, timerange),
        key_frame_count: maybe(dice, |dice| dice.random()),
        init_object: maybe(dice, id),
        allocation: maybe(dice, |dice| Allocation { content_type: "video/mp2t".parse().unwrap(), expires: time(dice) }),
        instances: (0..dice.random_range(0..4)).map(|_| instance(dice)).chain([own]).collect(),
        condemned_instances: vec![gone; dice.random_range(0..3)],
        condemned: dice.random(),
        created,
        size_bytes: maybe(dice, |dice| dice.random()),
    }
}

/// An Object, or the id and place of one that is gone.
type Entry = Result<MediaObject, (ObjectId, ObjectPlace)>;

/// Rows of every kind, in the order that the file must have.
struct Sample {
    segments: Vec<(Lsn, FlowSegment)>,
    objects: Vec<(Lsn, Entry)>,
    references: Vec<Reference>,
}

impl Sample {
    fn new(seed: u64, rows: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let dice = &mut dice;
        let mut segments: Vec<_> = (0..rows).map(|_| (lsn(dice), segment(dice))).collect();
        segments.sort_by_key(|(lsn, row)| (row.flow_id, row.timerange.start_key(), *lsn));
        segments.dedup_by_key(|(lsn, row)| (row.flow_id, row.timerange.start_key(), *lsn));
        let entry = |dice: &mut StdRng| match dice.random_range(0..4) {
            0 => Err((id(dice), [place(dice), ObjectPlace::OF_INIT_OBJECTS][dice.random_range(0..2)])),
            _ => Ok(object(dice)),
        };
        let mut objects: Vec<_> = (0..rows).map(|_| (lsn(dice), entry(dice))).collect();
        let key = |(lsn, entry): &(Lsn, Entry)| (entry_key(entry), *lsn);
        objects.sort_by_key(key);
        objects.dedup_by_key(|row| key(row));
        let mut references: Vec<_> = (0..rows)
            .map(|_| Reference {
                key: ReferenceKey {
                    object_hash: [i64::MIN, -1, 0, i64::MAX, object_hash(&id(dice))][dice.random_range(0..5)],
                    segment: SegmentKey { flow_id: flow(dice), start: timerange(dice).start_key() },
                },
                lsn: lsn(dice),
            })
            .collect();
        references.sort_by_key(|row| (row.key, row.lsn));
        references.dedup_by_key(|row| (row.key, row.lsn));
        Self { segments, objects, references }
    }

    fn batch(&self, table: ColdTable) -> RecordBatch {
        match table {
            ColdTable::FlowSegments => {
                segments_batch(&self.segments.iter().map(|(lsn, row)| (*lsn, row)).collect::<Vec<_>>()).unwrap()
            }
            ColdTable::Objects => {
                let entries = self.objects.iter().map(|(lsn, entry)| match entry {
                    Ok(object) => (*lsn, ObjectEntry::Is(object)),
                    Err((id, place)) => (*lsn, ObjectEntry::Gone(id, *place)),
                });
                objects_batch(&entries.collect::<Vec<_>>()).unwrap()
            }
            ColdTable::References => references_batch(&self.references).unwrap(),
        }
    }

    fn keys(&self, table: ColdTable) -> Vec<(Vec<u8>, Lsn)> {
        match table {
            ColdTable::FlowSegments => {
                let key = |row: &FlowSegment| SegmentKey::of(row).to_bytes().to_vec();
                self.segments.iter().map(|(lsn, row)| (key(row), *lsn)).collect()
            }
            ColdTable::Objects => self.objects.iter().map(|(lsn, entry)| (entry_key(entry), *lsn)).collect(),
            ColdTable::References => self.references.iter().map(|row| (row.key.to_bytes().to_vec(), row.lsn)).collect(),
        }
    }

    fn assert_row(&self, table: ColdTable, page: &Page, row: usize, at: usize) {
        match table {
            ColdTable::FlowSegments => assert_eq!(page.segment(row).unwrap(), self.segments[at].1),
            ColdTable::Objects => match &self.objects[at].1 {
                Ok(object) => {
                    assert!(!page.is_deleted(row));
                    assert_eq!(&page.object(row).unwrap(), object);
                }
                Err((id, _)) => {
                    assert!(page.is_deleted(row) && page.object(row).is_err());
                    assert_eq!(page.object_id(row), Some(id.as_str()));
                }
            },
            ColdTable::References => assert_eq!(page.reference(row).unwrap(), self.references[at]),
        }
    }
}

fn entry_id(entry: &Entry) -> &ObjectId {
    entry.as_ref().map_or_else(|(id, _)| id, |object| &object.id)
}

fn entry_key(entry: &Entry) -> Vec<u8> {
    let place = entry.as_ref().map_or_else(|(_, place)| *place, MediaObject::place);
    object_key(place, entry_id(entry).as_str())
}

fn write(table: ColdTable, layout: Layout, batch: &RecordBatch, step: usize) -> (Bytes, FileMeta) {
    let mut writer = FileWriter::with_layout(table, format!("{}.parquet", table.name()), layout).unwrap();
    for from in (0..batch.num_rows()).step_by(step) {
        writer.push(&batch.slice(from, step.min(batch.num_rows() - from))).unwrap();
    }
    writer.finish().unwrap()
}

fn load(file: &Bytes, meta: &FileMeta) -> Result<FileIndex, ColdError> {
    let start = file.len() - usize::try_from(meta.tail_bytes).unwrap();
    FileIndex::load(meta, &file.slice(start..))
}

fn fetch(file: &Bytes, ranges: Vec<Range<u64>>) -> Vec<(Range<u64>, Bytes)> {
    let bytes =
        |range: &Range<u64>| file.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
    ranges.into_iter().map(|range| (range.clone(), bytes(&range))).collect()
}

fn page(index: &FileIndex, file: &Bytes, page: u32) -> Result<Page, ColdError> {
    index.page(page..page + 1, &fetch(file, index.byte_ranges(page..page + 1, None)))
}

#[test]
fn what_was_written_is_read_back_in_the_same_order() {
    for (seed, table) in (0..20).flat_map(|seed| ColdTable::ALL.map(|table| (seed, table))) {
        let rows = [1, PAGE - 1, PAGE, PAGE + 1, 4 * PAGE, 4 * PAGE + 1, 300][usize::try_from(seed % 7).unwrap()];
        let sample = Sample::new(seed, rows);
        let (keys, batch) = (sample.keys(table), sample.batch(table));
        assert!(keys.is_sorted_by(|a, b| a < b));
        let (file, meta) = write(table, small(), &batch, [1, 7, PAGE, 1000][usize::try_from(seed % 4).unwrap()]);
        let index = load(&file, &meta).unwrap();
        assert_eq!(meta.rows, keys.len() as u64);
        assert_eq!((&meta.first_key, &meta.last_key), (&keys[0].0, &keys[keys.len() - 1].0));
        assert_eq!(Some(meta.min_lsn), keys.iter().map(|(_, lsn)| *lsn).min());
        assert_eq!(Some(meta.max_lsn), keys.iter().map(|(_, lsn)| *lsn).max());
        assert_eq!(meta.sha256, sha256(&file));
        let mut at = 0;
        for number in 0..index.pages() {
            let page = page(&index, &file, number).unwrap();
            assert!(index.pages_of(index.row_group_of(number)).contains(&number));
            assert_eq!(page.key(0), index.first_key(number));
            assert!(page.memory_size() > 0 && page.len() <= PAGE);
            for row in 0..page.len() {
                assert_eq!((page.key(row), page.lsn(row)), keys[at]);
                sample.assert_row(table, &page, row, at);
                at += 1;
            }
        }
        assert_eq!(at, keys.len());
        let mut at = 0;
        for group in 0..index.row_groups() {
            let bytes = fetch(&file, index.byte_ranges(index.pages_of(group), None));
            let rows = index.decode_pages(index.pages_of(group), None, &bytes).unwrap();
            assert_eq!(rows, batch.slice(at, rows.num_rows()));
            at += rows.num_rows();
        }
        assert_eq!(at, batch.num_rows());
    }
}

#[test]
fn a_projection_reads_less_and_gives_those_columns() {
    let sample = Sample::new(3, 200);
    let batch = sample.batch(ColdTable::FlowSegments);
    let (file, meta) = write(ColdTable::FlowSegments, small(), &batch, 1000);
    let index = load(&file, &meta).unwrap();
    let columns = [0, 7];
    let ranges = index.byte_ranges(2..3, Some(&columns));
    let size = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    assert!(size(&ranges) < size(&index.byte_ranges(2..3, None)));
    let rows = index.decode_pages(2..3, Some(&columns), &fetch(&file, ranges)).unwrap();
    assert_eq!(rows, batch.slice(2 * PAGE, PAGE).project(&columns).unwrap());
}

#[test]
fn lookups_find_what_a_naive_scan_finds() {
    for table in ColdTable::ALL {
        let sample = Sample::new(11, 300);
        let keys = sample.keys(table);
        let (file, meta) = write(table, small(), &sample.batch(table), 1000);
        let index = load(&file, &meta).unwrap();
        let pages: Vec<Page> = (0..index.pages()).map(|number| page(&index, &file, number).unwrap()).collect();
        let mut probes: Vec<Vec<u8>> = vec![Vec::new(), vec![0xff; 41]];
        for (key, _) in &keys {
            let mut before = key.clone();
            let last = before.last_mut().unwrap();
            *last = last.wrapping_sub(1);
            probes.extend([key.clone(), before, [key.as_slice(), &[0]].concat()]);
        }
        for (number, from) in probes.iter().enumerate() {
            for to in [&probes[(number * 31 + 7) % probes.len()], &[from.as_slice(), &[0]].concat()] {
                let wanted: Vec<_> = keys.iter().filter(|(key, _)| from <= key && key < to).cloned().collect();
                let mut found = Vec::new();
                for page in index.pages_in(from, to) {
                    let page = &pages[page as usize];
                    let rows = page.lower_bound(from)..page.lower_bound(to);
                    found.extend(rows.map(|row| (page.key(row), page.lsn(row))));
                }
                assert_eq!(found, wanted);
                let pages = index.pages_in(from, to);
                assert!(wanted.len() + 2 * PAGE > pages.len().saturating_sub(2) * PAGE, "it reads too many pages");
            }
        }
    }
}

#[test]
fn a_bloom_filter_holds_every_object_of_the_file_and_few_others() {
    let sample = Sample::new(5, 300);
    let (file, meta) = write(ColdTable::Objects, small(), &sample.batch(ColdTable::Objects), 1000);
    let index = load(&file, &meta).unwrap();
    assert!(sample.objects.iter().all(|(_, entry)| index.might_hold_object(entry_id(entry))));
    let others = (0..1000).map(|n| format!("b{n}").parse::<ObjectId>().unwrap());
    assert!(others.filter(|id| index.might_hold_object(id)).count() < 50);
}

#[test]
fn rows_out_of_order_or_twice_are_refused() {
    let sample = Sample::new(2, 100);
    for table in ColdTable::ALL {
        let batch = sample.batch(table);
        for (first, second) in [(1, 0), (0, 0), (50, 20)] {
            let mut writer = FileWriter::with_layout(table, "file".into(), small()).unwrap();
            writer.push(&batch.slice(first, 1)).unwrap();
            assert!(writer.push(&batch.slice(second, 1)).unwrap_err().to_string().starts_with("file: row 1 "));
        }
        assert!(
            FileWriter::with_layout(table, "file".into(), Layout::of(table)).unwrap().finish().is_err(),
            "a file without rows"
        );
        let other = sample.batch(ColdTable::ALL[usize::from(table == ColdTable::FlowSegments)]);
        assert!(
            FileWriter::with_layout(table, "file".into(), Layout::of(table)).unwrap().push(&other).is_err(),
            "rows of another table"
        );
    }
}

#[test]
fn every_flipped_byte_of_the_tail_is_noticed() {
    for table in ColdTable::ALL {
        let (file, meta) = write(table, small(), &Sample::new(4, 40).batch(table), 1000);
        let start = file.len() - usize::try_from(meta.tail_bytes).unwrap();
        assert!(FileIndex::load(&meta, &file.slice(start + 1..)).is_err(), "a byte is missing");
        for at in start..file.len() {
            let mut damaged = file.to_vec();
            damaged[at] ^= 0x10;
            let error = load(&damaged.into(), &meta).unwrap_err();
            assert_eq!(error.path, meta.path);
        }
    }
}

#[test]
fn every_flipped_byte_of_a_data_page_is_noticed_when_it_is_decoded() {
    for table in ColdTable::ALL {
        let (file, meta) = write(table, small(), &Sample::new(4, 100).batch(table), 1000);
        let index = load(&file, &meta).unwrap();
        for number in 0..index.pages() {
            let ranges = index.byte_ranges(number..number + 1, None);
            for at in ranges.iter().flat_map(|range| range.clone()) {
                let mut damaged = file.to_vec();
                damaged[usize::try_from(at).unwrap()] ^= 1;
                assert!(page(&index, &damaged.into(), number).is_err(), "byte {at} of page {number}");
            }
            let mut short = fetch(&file, ranges);
            let last = short.len() - 1;
            short[last].1.truncate(1);
            assert!(index.page(number..number + 1, &short).is_err(), "bytes are missing");
            short.pop();
            assert!(index.page(number..number + 1, &short).is_err(), "a range is missing");
        }
        assert!(index.decode_pages(index.pages()..index.pages() + 1, None, &[]).is_err());
        assert!(index.decode_pages(index.pages_of(index.row_groups()), None, &[]).is_err());
    }
}

#[test]
fn every_byte_before_the_tail_but_the_magic_number_belongs_to_a_page() {
    for table in ColdTable::ALL {
        let (file, meta) = write(table, small(), &Sample::new(4, 100).batch(table), 1000);
        let index = load(&file, &meta).unwrap();
        let groups = (0..index.row_groups()).flat_map(|group| index.byte_ranges(index.pages_of(group), None));
        let groups: u64 = groups.map(|range| range.end - range.start).sum();
        // Behind the pages, and checked block by block.
        let ids = if table == ColdTable::Objects { 8 * meta.rows } else { 0 };
        assert_eq!(groups + ids + 4, meta.bytes - meta.tail_bytes);
    }
}

#[test]
fn values_that_no_writer_writes_are_errors() {
    use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray};
    let batch = Sample::new(9, 50).batch(ColdTable::FlowSegments);
    let with = |name: &str, column: ArrayRef| {
        let mut columns = batch.columns().to_vec();
        columns[batch.schema().index_of(name).unwrap()] = column;
        Page::new(ColdTable::FlowSegments, RecordBatch::try_new(batch.schema(), columns).unwrap(), "file")
    };
    let rows = batch.num_rows();
    assert!(with("lsn_seq", Arc::new(Int64Array::from(vec![-1; rows]))).is_err());
    assert!(with("lsn_index", Arc::new(Int64Array::from(vec![1 << 32; rows]))).is_err());
    assert!(with("flow_id", Arc::new(StringArray::from(vec!["x"; rows]))).is_err());
    assert!(with("start_seconds", Arc::new(Int64Array::from(vec![i64::MAX; rows]))).is_err());
    assert!(with("start_nanoseconds", Arc::new(Int32Array::from(vec![-1; rows]))).is_err());
    let late = |name: &str, column: ArrayRef| with(name, column).unwrap().segment(0).unwrap_err();
    assert!(late("object_id", Arc::new(StringArray::from(vec![""; rows]))).to_string().starts_with("file: "));
    late("end_seconds", Arc::new(Int64Array::from(vec![i64::MIN; rows])));
    late("ts_offset_nanoseconds", Arc::new(Int32Array::from(vec![1_000_000_000; rows])));
    assert!(with("start_inclusive", Arc::new(BooleanArray::from(vec![true; rows]))).is_ok());
    assert!(with("flow_id", batch.column(0).clone()).unwrap().segment(rows).is_err(), "beyond the last row");
}

#[test]
fn a_column_that_came_later_is_null_in_an_old_file() {
    let sample = Sample::new(8, 30);
    let batch = sample.batch(ColdTable::FlowSegments);
    let newer = ["init_object", "registered"];
    let is_older = |at: &usize| !newer.contains(&batch.schema().field(*at).name().as_str());
    let older: Vec<usize> = (0..batch.num_columns()).filter(is_older).collect();
    let page = Page::new(ColdTable::FlowSegments, batch.project(&older).unwrap(), "file").unwrap();
    for (row, (_, segment)) in sample.segments.iter().enumerate() {
        assert_eq!(page.segment(row).unwrap(), FlowSegment { init_object: None, registered: None, ..segment.clone() });
    }
}

#[test]
fn a_page_of_large_rows_is_cut_short() {
    let object = |n: usize| MediaObject {
        id: format!("{n:04}").parse().unwrap(),
        timerange: None,
        instances: vec![Instance::Uncontrolled { url: "x".repeat(1 << 20), label: None }],
        ..object(&mut StdRng::seed_from_u64(1))
    };
    let objects: Vec<_> = (0..40).map(object).collect();
    let entries: Vec<_> = objects.iter().map(|object| (Lsn::default(), ObjectEntry::Is(object))).collect();
    let (file, meta) = write(ColdTable::Objects, Layout::of(ColdTable::Objects), &objects_batch(&entries).unwrap(), 40);
    let index = load(&file, &meta).unwrap();
    assert!(index.pages() > 2);
    let pages = (0..index.pages()).map(|number| page(&index, &file, number).unwrap());
    let read: Vec<_> = pages.flat_map(|page| (0..page.len()).map(move |row| page.object(row).unwrap())).collect();
    assert_eq!(read, objects);
}

#[test]
fn a_large_batch_of_small_rows_fills_its_pages() {
    for table in ColdTable::ALL {
        let batch = Sample::new(6, 20_000).batch(table);
        let layout = Layout { page_rows: 1024, ..Layout::of(table) };
        let (file, meta) = write(table, layout, &batch, batch.num_rows());
        assert_eq!(load(&file, &meta).unwrap().pages() as usize, batch.num_rows().div_ceil(1024), "{}", table.name());
    }
}

#[test]
fn the_keys_of_pages_survive_their_text_form() {
    let mut keys = page_list::Keys::default();
    for key in [&b""[..], b"a", b"ab", &[b'x'; 1024], &[[b'x'; 1024].as_slice(), b"y"].concat(), b"z"] {
        assert!(keys.push(key));
    }
    assert_eq!(page_list::Keys::decode(&keys.encode()), Some(keys));
    assert_eq!(page_list::decode_crcs(&page_list::encode_crcs(&[0, 1, u32::MAX])), Some(vec![0, 1, u32::MAX]));
    for text in ["A", "AQ", "AAX", "!"] {
        assert_eq!(page_list::Keys::decode(text), None, "{text}");
    }
}
