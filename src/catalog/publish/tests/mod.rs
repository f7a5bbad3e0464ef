//! Publishing against a plain reading of what was published: files of the newest (or an older) Delta version, less the rows
//! that its deletion vectors name.

mod helpers;
mod sample;

use std::sync::atomic::Ordering;
use std::time::Duration;

use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use proptest::prelude::*;
use roaring::RoaringBitmap;

use super::*;
use helpers::{CATALOGUE, Folder, Model, now, schema};

fn committed(published: Published) -> (u64, usize, usize, usize) {
    match published {
        Published::Committed { version, added, changed, removed } => (version, added, changed, removed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_shows_each_cut_and_old_versions_stay_readable() {
    let folder = Folder::new();
    let mut publisher = folder.publisher();
    let mut model = Model::default();
    assert_eq!(publisher.seq().await.unwrap(), None);

    model.add(&folder, "a", 0..1_000);
    model.add(&folder, "b", 1_000..3_000);
    assert_eq!(committed(publisher.publish(&model.cut(5), now()).await.unwrap()), (0, 2, 0, 0));
    assert_eq!(publisher.seq().await.unwrap(), Some(5));
    let first = model.rows();

    model.add(&folder, "c", 3_000..3_500);
    assert_eq!(committed(publisher.publish(&model.cut(6), now()).await.unwrap()), (1, 1, 0, 0));
    let second = model.rows();

    model.kill("a", 100..200);
    model.kill("b", (0..2_000).filter(|n| n % 3 == 0));
    assert_eq!(committed(publisher.publish(&model.cut(9), now()).await.unwrap()), (2, 0, 2, 0));
    let third = model.rows();

    model.kill("a", 150..160);
    model.kill("a", [999]);
    model.kill("c", 0..500);
    model.remove("b");
    assert_eq!(committed(publisher.publish(&model.cut(12), now()).await.unwrap()), (3, 0, 1, 2));

    assert_eq!(folder.rows(None).await, model.rows());
    for (version, rows) in [(0, first), (1, second), (2, third), (3, model.rows())] {
        assert_eq!(folder.rows(Some(version)).await, rows, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_published_once() {
    let folder = Folder::new();
    let mut model = Model::default();
    model.add(&folder, "a", 0..100);
    model.kill("a", 5..20);
    let mut publisher = folder.publisher();
    assert_eq!(committed(publisher.publish(&model.cut(7), now()).await.unwrap()).0, 0);
    assert_eq!(publisher.publish(&model.cut(7), now()).await.unwrap(), Published::Before { version: 0, seq: 7 });
    assert_eq!(publisher.publish(&model.cut(3), now()).await.unwrap(), Published::Before { version: 0, seq: 7 });
    assert_eq!(publisher.publish(&model.cut(8), now()).await.unwrap(), Published::Unchanged { version: 0 });

    let mut restarted = folder.publisher();
    assert_eq!(restarted.seq().await.unwrap(), Some(7));
    assert_eq!(restarted.publish(&model.cut(7), now()).await.unwrap(), Published::Before { version: 0, seq: 7 });
    assert_eq!(restarted.publish(&model.cut(8), now()).await.unwrap(), Published::Unchanged { version: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_made_again() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    for seq in 1..=4 {
        model.add(&folder, &format!("{seq}"), 0..10);
        folder.store.watch().lose_answers.store(1, Ordering::SeqCst);
        let published = publisher.publish(&model.cut(seq), now()).await.unwrap();
        assert_eq!(committed(published), (seq - 1, 1, 0, 0));
        assert_eq!(folder.rows(None).await, model.rows());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_did_not_land_is_an_error_and_made_next_time() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    for seq in 1..=4 {
        model.add(&folder, &format!("{seq}"), 0..10);
        folder.store.watch().refuse_commits.store(1, Ordering::SeqCst);
        publisher.publish(&model.cut(seq), now()).await.unwrap_err();
        assert_eq!(committed(publisher.publish(&model.cut(seq), now()).await.unwrap()).0, seq - 1);
        assert_eq!(folder.rows(None).await, model.rows());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_commits_is_made_good() {
    let folder = Folder::new();
    let mut model = Model::default();
    model.add(&folder, "a", 0..10);
    let mut one = folder.publisher();
    let mut other = folder.publisher();
    one.publish(&model.cut(1), now()).await.unwrap();
    other.publish(&model.cut(1), now()).await.unwrap();
    let mut strange = model.clone();
    strange.remove("a");
    strange.add(&folder, "strange", 50..60);
    other.publish(&strange.cut(2), now()).await.unwrap();
    assert_eq!(committed(one.publish(&model.cut(3), now()).await.unwrap()), (2, 1, 0, 1));
    assert_eq!(folder.rows(None).await, model.rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_a_commit_does_not_grow_with_their_number() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    let mut requests = Vec::new();
    for seq in 1..=300_u64 {
        // As live ingest and compaction do: a file comes, now and then some become one, a few rows die.
        model.add(&folder, &format!("{seq}"), 0..10);
        if seq % 10 == 0 {
            (seq - 9..=seq).for_each(|gone| model.remove(&format!("{gone}")));
            model.add(&folder, &format!("{seq}x"), 0..100);
        }
        if seq > 12 {
            model.kill(&format!("{}x", (seq - 2) / 10 * 10), [u32::try_from(seq % 100).unwrap()]);
        }
        folder.store.watch().listed.store(0, Ordering::SeqCst);
        folder.store.watch().read.store(0, Ordering::SeqCst);
        committed(publisher.publish(&model.cut(seq), now()).await.unwrap());
        requests.push((
            folder.store.watch().listed.load(Ordering::SeqCst),
            folder.store.watch().read.load(Ordering::SeqCst),
        ));
    }
    // The checkpoint's own commits list all of the log, to see what can go.
    let worst = |range: std::ops::Range<usize>| {
        let plain = requests[range].iter().enumerate().filter(|(n, _)| n % 50 != 0);
        plain.fold((0, 0), |worst, (_, next)| (worst.0.max(next.0), worst.1.max(next.1)))
    };
    let (early, late) = (worst(50..100), worst(250..300));
    assert!(late.0 <= early.0 + 8 && late.0 < 500, "objects listed: {early:?}, then {late:?}");
    assert!(late.1 <= early.1 + 8 && late.1 < 300, "objects read: {early:?}, then {late:?}");
    assert_eq!(folder.rows(None).await, model.rows());
    assert!(folder.exists("_delta_log/00000000000000000250.checkpoint.parquet"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn old_versions_leave_the_log_when_their_time_is_over() {
    let folder = Folder::new();
    let mut model = Model::default();
    let settings =
        PublishSettings { checkpoint_interval: 5, log_retention: Duration::ZERO, file_retention: Duration::ZERO };
    let mut publisher = Publisher::new("things", CATALOGUE, folder.log_store(), settings);
    for seq in 1..=23 {
        model.add(&folder, &format!("{seq}"), 0..10);
        publisher.publish(&model.cut(seq), now()).await.unwrap();
    }
    assert!(!folder.exists("_delta_log/00000000000000000004.json"));
    assert!(folder.exists("_delta_log/00000000000000000020.json"));
    assert_eq!(folder.rows(None).await, model.rows());
    assert_eq!(folder.publisher().seq().await.unwrap(), Some(23));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_need_deletion_vectors_only_where_rows_are_dead() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    model.add(&folder, "a", 0..10);
    publisher.publish(&model.cut(1), now()).await.unwrap();
    let state = folder.state(None).await;
    assert_eq!((state.protocol().min_reader_version(), state.protocol().min_writer_version()), (1, 2));
    let id = state.metadata().id().to_owned();

    model.kill("a", [3]);
    publisher.publish(&model.cut(2), now()).await.unwrap();
    let state = folder.state(None).await;
    assert_eq!((state.protocol().min_reader_version(), state.protocol().min_writer_version()), (3, 7));
    assert_eq!(state.metadata().id(), id);

    model.remove("a");
    publisher.publish(&model.cut(3), now()).await.unwrap();
    assert_eq!(folder.state(None).await.protocol().min_reader_version(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_carry_their_descriptions_and_new_ones_come_with_the_next_cut() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    model.add(&folder, "a", 0..10);
    let mut cut = model.cut(1);
    publisher.publish(&cut, now()).await.unwrap();
    let state = folder.state(None).await;
    assert_eq!(state.metadata().name(), Some("things"));
    assert_eq!(state.metadata().description(), Some("things of tests"));
    let comment = |state: &DeltaTableState, column: &str| {
        format!("{:?}", state.schema().field(column).unwrap().metadata().get("comment"))
    };
    assert!(comment(&state, "n").contains("a number [frames]"), "{}", comment(&state, "n"));

    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new("more", arrow::datatypes::DataType::Utf8, true)));
    cut.schema = Arc::new(arrow::datatypes::Schema::new_with_metadata(fields, schema().metadata().clone()));
    cut.seq = 2;
    assert_eq!(committed(publisher.publish(&cut, now()).await.unwrap()), (1, 0, 0, 0));
    assert!(folder.state(None).await.schema().field("more").is_some());
    cut.seq = 3;
    assert_eq!(publisher.publish(&cut, now()).await.unwrap(), Published::Unchanged { version: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_somebody_else_is_refused_with_the_remedy() {
    let folder = Folder::new();
    let mut model = Model::default();
    model.add(&folder, "a", 0..10);
    let settings = PublishSettings::default();
    let mut other = Publisher::new("things", Uuid::from_u128(9), folder.log_store(), settings);
    other.publish(&model.cut(1), now()).await.unwrap();
    let error = folder.publisher().publish(&model.cut(2), now()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{}/_delta_log", folder.path().display())), "{error}");
    assert!(error.contains(&Uuid::from_u128(9).to_string()) && error.contains("delete this folder"), "{error}");

    std::fs::remove_dir_all(folder.path().join("_delta_log")).unwrap();
    folder.publisher().publish(&model.cut(2), now()).await.unwrap();
    assert_eq!(folder.rows(None).await, model.rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused_with_the_remedy_and_an_empty_commit_is_made_good() {
    let folder = Folder::new();
    let mut model = Model::default();
    for seq in 1..=3 {
        model.add(&folder, &format!("{seq}"), 0..10);
        folder.publisher().publish(&model.cut(seq), now()).await.unwrap();
    }
    // What a power cut leaves of a file that was not flushed.
    std::fs::write(folder.path().join("_delta_log/00000000000000000002.json"), "").unwrap();
    folder.publisher().publish(&model.cut(3), now()).await.unwrap();
    assert_eq!(folder.rows(None).await, model.rows());

    for (file, content) in [("00000000000000000001.json", "{\"add\":{\"pa"), ("00000000000000000000.json", "")] {
        std::fs::write(folder.path().join("_delta_log").join(file), content).unwrap();
        let error = folder.publisher().publish(&model.cut(4), now()).await.unwrap_err();
        assert!(matches!(error, PublishError::Unusable { .. }), "{error:?}");
        assert!(error.to_string().contains("delete this folder"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_not_taken_for_a_damaged_log() {
    let folder = Folder::new();
    let mut model = Model::default();
    model.add(&folder, "a", 0..10);
    folder.publisher().publish(&model.cut(1), now()).await.unwrap();
    folder.store.watch().refuse_reads.store(100, Ordering::SeqCst);
    let error = folder.publisher().publish(&model.cut(2), now()).await.unwrap_err();
    assert!(!matches!(error, PublishError::Unusable { .. }), "{error:?}");
    folder.store.watch().refuse_reads.store(0, Ordering::SeqCst);
    folder.publisher().publish(&model.cut(2), now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_of_a_deletion_vector_is_put_again_after_a_restart() {
    let folder = Folder::new();
    let mut model = Model::default();
    model.add(&folder, "a", 0..20_000);
    model.kill("a", (0..20_000).filter(|n| n % 7 == 0));
    folder.publisher().publish(&model.cut(1), now()).await.unwrap();
    let vectors: Vec<_> =
        std::fs::read_dir(folder.path().join("dv")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(vectors.len(), 1);
    let before = std::fs::read(&vectors[0]).unwrap();
    std::fs::write(&vectors[0], "").unwrap();
    let published = folder.publisher().publish(&model.cut(1), now()).await.unwrap();
    assert_eq!(published, Published::Before { version: 0, seq: 1 });
    assert_eq!(std::fs::read(&vectors[0]).unwrap(), before);
    std::fs::write(&vectors[0], "").unwrap();
    let published = folder.publisher().publish(&model.cut(2), now()).await.unwrap();
    assert_eq!(published, Published::Unchanged { version: 0 });
    assert_eq!(std::fs::read(&vectors[0]).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_vectors_of_old_versions_are_needed_until_their_time_is_over() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    model.add(&folder, "a", 0..20_000);
    let mut names = Vec::new();
    for step in [7, 5, 3] {
        model.kill("a", (0..20_000).filter(|n| n % step == 0));
        publisher.publish(&model.cut(10 - u64::from(step)), now()).await.unwrap();
        let state = folder.state(None).await;
        let file = state.log_data().into_iter().next().unwrap();
        names.push(deletion_vector::file_of(&file.deletion_vector_descriptor().unwrap()).unwrap());
    }
    let newest = names[2].clone();
    names.sort_unstable();
    assert_eq!(publisher.vectors_needed(now()).await.unwrap(), names);
    let later = now() + Duration::from_secs(30 * 24 * 60 * 60);
    assert_eq!(publisher.vectors_needed(later).await.unwrap(), [newest]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_table_is_replaced_whole_and_only_when_it_changed() {
    let folder = Folder::new();
    let mut publisher = folder.publisher();
    let cut = |seq, file| Cut { seq, committed: now(), schema: schema(), files: vec![file] };
    let file = |rows: std::ops::Range<i64>| {
        let (file, bytes) = whole_table("things", &helpers::batch(rows)).unwrap();
        folder.put(&file.path, &bytes);
        file
    };
    publisher.publish(&cut(1, file(0..10)), now()).await.unwrap();
    assert_eq!(publisher.publish(&cut(2, file(0..10)), now()).await.unwrap(), Published::Unchanged { version: 0 });
    assert_eq!(committed(publisher.publish(&cut(3, file(0..11)), now()).await.unwrap()), (1, 1, 0, 1));
    assert_eq!(folder.rows(None).await, (0..11).collect::<Vec<i64>>());
    publisher.publish(&cut(4, file(0..0)), now()).await.unwrap();
    assert_eq!(folder.rows(None).await, [0; 0]);
    let add = folder.state(Some(1)).await.log_data().into_iter().next().unwrap();
    assert_eq!(add.num_records(), Some(11));
    assert!(add.stats().unwrap().contains("\"n\":10"), "{:?}", add.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_cannot_be_is_refused() {
    let folder = Folder::new();
    let mut model = Model::default();
    let mut publisher = folder.publisher();
    model.add(&folder, "a", 0..10);
    publisher.publish(&model.cut(1), now()).await.unwrap();
    let mut beyond = model.cut(2);
    beyond.files[0].dead.insert(10);
    let mut twice = model.cut(2);
    twice.files.push(twice.files[0].clone());
    let mut changed = model.cut(2);
    changed.files[0].bytes += 1;
    for cut in [beyond, twice, changed] {
        let error = publisher.publish(&cut, now()).await.unwrap_err();
        assert!(matches!(&error, PublishError::Cut { reason, .. } if reason.contains("data/a.parquet")), "{error}");
    }
}

#[test]
fn an_inline_deletion_vector_is_what_other_writers_make_of_the_same_rows() {
    let rows = RoaringBitmap::from_iter([3, 4, 7, 11, 18, 29]);
    let (ours, file) = deletion_vector::encode("data/a.parquet", &rows).unwrap().unwrap();
    let theirs = DeletionVectorDescriptor {
        storage_type: StorageType::Inline,
        path_or_inline_dv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L".to_owned(),
        offset: None,
        size_in_bytes: 44,
        cardinality: 6,
    };
    assert_eq!(deletion_vector::decode(&theirs, None), rows);
    assert_eq!(ours, theirs);
    assert!(file.is_none());
    assert!(deletion_vector::encode("data/a.parquet", &RoaringBitmap::new()).unwrap().is_none());
}

proptest! {
    #[test]
    fn a_deletion_vector_is_read_as_it_was_written(
        runs in prop::collection::vec((0_u32..5_000_000, 1_u32..100_000), 1..20),
        single in prop::collection::vec(any::<u32>(), 0..2_000),
    ) {
        let mut rows = RoaringBitmap::from_iter(single);
        for (start, length) in runs {
            rows.insert_range(start..start + length);
        }
        let (descriptor, file) = deletion_vector::encode("data/a.parquet", &rows).unwrap().unwrap();
        prop_assert_eq!(u64::try_from(descriptor.cardinality).unwrap(), rows.len());
        prop_assert_eq!(deletion_vector::file_of(&descriptor), file.as_ref().map(|file| file.path.clone()));
        prop_assert_eq!(deletion_vector::decode(&descriptor, file.as_ref().map(|file| &file.bytes[..])), rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_shown_as_they_are() {
    use rand::{RngExt, SeedableRng};
    for seed in 0..4 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let folder = Folder::new();
        let mut model = Model::default();
        let mut publisher = folder.publisher();
        let mut history = Vec::new();
        for seq in 1..=25 {
            for _ in 0..random.random_range(1..4) {
                let known = model.names();
                let some = known.get(random.random_range(0..known.len().max(1))).cloned();
                match (random.random_range(0..4), some) {
                    (0, _) | (_, None) => {
                        let rows = random.random_range(1..3_000);
                        model.add(&folder, &Uuid::from_u128(random.random()).to_string(), 0..rows);
                    }
                    (1, Some(name)) => model.remove(&name),
                    (_, Some(name)) => {
                        let step = random.random_range(1..200);
                        let rows = model.len(&name);
                        model.kill(&name, (random.random_range(0..rows)..rows).step_by(step).take(400));
                    }
                }
            }
            if random.random_bool(0.2) {
                publisher = folder.publisher();
            }
            match publisher.publish(&model.cut(seq), now()).await.unwrap() {
                Published::Committed { version, .. } => history.push((version, model.rows())),
                Published::Unchanged { .. } => {}
                other @ Published::Before { .. } => panic!("{other:?}"),
            }
        }
        for (version, rows) in history {
            assert_eq!(folder.rows(Some(version)).await, rows, "seed {seed}, version {version}");
        }
    }
}
