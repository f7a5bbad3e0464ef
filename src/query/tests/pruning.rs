//! What a scan leaves out, by times and by what joins find out: too much would be a wrong answer.

use super::*;

#[tokio::test]
async fn scans_are_told_which_flows_a_join_is_about() {
    let mut world = World::new(9).await;
    for n in 0..2 {
        let range = TimeRange::half_open(Timestamp::from_seconds(0), Timestamp::from_seconds(1));
        world.register(flow_id(n), vec![range], object_id(n.into())).await;
        world.by_hand.flush().await;
    }
    let sql = session(&world.by_hand.catalog, &world.by_hand.catalog.snapshot());
    let this = flow_id(1);
    for (table, column) in [("flow_segments", "flow_id"), ("flow_coverage", "flow_id"), ("objects", "first_flow")] {
        let wanted = format!("SELECT id FROM flows WHERE metadata_updated IS NULL OR id = '{this}'");
        let query = format!("SELECT count(*) FROM {table} WHERE {column} IN ({wanted})");
        assert_eq!(rows_of(&sql, &query).await, ["1"], "{query}");
        let plan = rows_of(&sql, &format!("EXPLAIN ANALYZE {query}")).await.concat();
        let told = plan.split("found out=").nth(1).unwrap_or_else(|| panic!("{plan}"));
        assert!(told.contains(&format!("[{this}]")), "{plan}");
    }
    world.by_hand.catalog.close().await;
}

/// DataFusion takes the first of two columns of one name for the one that a join is about (apache/datafusion#25244).
#[tokio::test]
async fn scans_are_not_told_of_one_flow_what_was_found_out_of_another() {
    let mut world = World::new(10).await;
    for n in 0..3 {
        let range = TimeRange::half_open(Timestamp::from_seconds(0), Timestamp::from_seconds(1));
        world.register(flow_id(n), vec![range], object_id(0)).await;
    }
    world.by_hand.flush().await;
    let sql = session(&world.by_hand.catalog, &world.by_hand.catalog.snapshot());
    let this = flow_id(1);
    for (query, expected) in [
        (
            format!(
                "SELECT g.n FROM (SELECT b.flow_id, count(DISTINCT a.flow_id) AS n FROM flow_segments a JOIN flow_segments b \
                 ON a.object_id = b.object_id GROUP BY b.flow_id) g JOIN flows f ON f.id = g.flow_id WHERE f.id = '{this}'"
            ),
            "3",
        ),
        (
            format!(
                "SELECT count(*) FROM flow_segments a JOIN flow_segments b ON a.object_id = b.object_id JOIN flow_segments c \
                 ON c.object_id = b.object_id JOIN (SELECT id FROM flows WHERE id = '{this}') f ON f.id = b.flow_id"
            ),
            "9",
        ),
        (
            format!(
                "SELECT count(*) FROM (SELECT a.object_id, b.flow_id AS this, a.flow_id AS that FROM flow_segments a JOIN \
                 flow_segments b ON a.object_id = b.object_id) x WHERE this IN (SELECT id FROM flows WHERE id = '{this}')"
            ),
            "3",
        ),
    ] {
        assert_eq!(rows_of(&sql, &query).await, [expected], "{query}");
    }
    world.by_hand.catalog.close().await;
}

#[tokio::test]
async fn a_long_segment_is_found_by_times_that_are_far_apart() {
    let mut world = World::new(11).await;
    let range = TimeRange::half_open(Timestamp::from_seconds(5), Timestamp::from_seconds(200));
    world.register(flow_id(0), vec![range], object_id(0)).await;
    for flush in [false, true] {
        if flush {
            world.by_hand.flush().await;
        }
        let sql = session(&world.by_hand.catalog, &world.by_hand.catalog.snapshot());
        for flow in ["", &format!(" AND flow_id = '{}'", flow_id(0))] {
            for times in ["start_seconds <= 10 AND end_seconds >= 100", "start_seconds = 5 AND end_seconds = 200"] {
                let query = format!("SELECT count(*) FROM flow_segments WHERE {times}{flow}");
                assert_eq!(rows_of(&sql, &query).await, ["1"], "{query}");
            }
        }
    }
    world.by_hand.catalog.close().await;
}
