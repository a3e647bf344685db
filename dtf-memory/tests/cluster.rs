//! The processes of a cluster agree on its shape.

use dtf_memory::MemoryTable;
use dtf_model::ClusterShape;
use dtf_model::cluster::{agree, begin_alone, grow, shape};

#[tokio::test]
async fn the_first_process_decides_and_others_have_to_agree() {
    let table = MemoryTable::new();
    assert_eq!(shape(&table).await.unwrap(), None);
    let ours = ClusterShape { shards: 8, ..ClusterShape::default() };
    agree(&table, ours).await.unwrap();
    agree(&table, ours).await.unwrap();
    let refused = agree(&table, ClusterShape::default()).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "this process is configured for 64 as the number of shards, its cluster has 8 as the number of shards; use the \
         cluster's counts, or end all its processes and run `dtf cluster grow`"
    );
    assert_eq!(shape(&table).await.unwrap(), Some(ours));
    assert!(agree(&table, ClusterShape { shards: 0, ..ours }).await.is_err());
}

#[tokio::test]
async fn counts_only_grow() {
    let table = MemoryTable::new();
    let small = ClusterShape { shards: 8, ..ClusterShape::default() };
    agree(&table, small).await.unwrap();
    grow(&table, ClusterShape::default()).await.unwrap();
    agree(&table, ClusterShape::default()).await.unwrap();
    let refused = grow(&table, small).await.unwrap_err().to_string();
    assert!(refused.contains("the number of shards cannot become 8: the cluster has 64"), "{refused}");
    agree(&table, ClusterShape::default()).await.unwrap();
    begin_alone(&table, small).await.unwrap();
    agree(&table, small).await.unwrap();
}
