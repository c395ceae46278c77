//! The one pass over sales: everything that is made of single sales is made here, while a sale is at hand.
//!
//! Views that look at sales one by one would each take a copy of every sale; a sale is eleven fields, six of them
//! texts. What is a function of cells (windows and keys) is summed per tick, what needs the sale itself is passed on.

use std::collections::BTreeMap;

use differential_dataflow::difference::{IsZero, Multiply, Semigroup};
use differential_dataflow::{AsCollection, VecCollection};
use hashbrown::HashMap;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::cells::{ProductCell, ProductCells, SalesCell, SalesCells};
use crate::inputs::PlacedSale;
use crate::measures::SalesMeasures;
use crate::records::{Sale, Text};
use crate::time::{Diff, Granularity, Tick, Window};
use crate::views::arithmetic_mismatch::is_mismatch;
use crate::views::customers::BuyersSale;
use crate::views::purchases_unmatched::{Dealing, Side};

/// Sales by user.
pub type BuyersSales<'scope> = VecCollection<'scope, Tick, (Text, BuyersSale), Diff>;

/// Sales as they can be matched with purchases.
pub type Dealings<'scope> = VecCollection<'scope, Tick, Dealing, Diff>;

/// What is made of sales.
pub struct SalesPass<'scope> {
    /// Sums by minute and [`SalesCell`].
    pub cells: SalesCells<'scope>,
    /// Sums by minute and product.
    pub products: ProductCells<'scope>,
    /// How many sales have a total that is not quantity times price.
    pub mismatches: VecCollection<'scope, Tick, (), Diff>,
    /// Each sale under its user.
    pub buyers_sales: BuyersSales<'scope>,
    /// Each sale under what a purchase would have in common with it.
    pub dealings: Dealings<'scope>,
}

/// What is to be made of sales; what is not stays empty.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// [`SalesPass::cells`].
    pub cells: bool,
    /// [`SalesPass::products`].
    pub products: bool,
    /// [`SalesPass::buyers_sales`].
    pub buyers_sales: bool,
    /// [`SalesPass::dealings`].
    pub dealings: bool,
}

/// Sums of one kind while a tick is incomplete.
type Sums<K, M> = HashMap<K, M>;

fn add<K: std::hash::Hash + Eq, M: Semigroup>(sums: &mut Sums<K, M>, key: K, measure: M) {
    match sums.entry(key) {
        hashbrown::hash_map::Entry::Occupied(mut cell) => cell.get_mut().plus_equals(&measure),
        hashbrown::hash_map::Entry::Vacant(cell) => {
            cell.insert(measure);
        }
    }
}

/// An incomplete tick, and a capability at it for each output that is summed.
struct Open {
    capabilities: [Capability<Tick>; 3],
    cells: Sums<SalesCell, SalesMeasures>,
    products: Sums<ProductCell, SalesMeasures>,
    mismatches: Diff,
}

/// Makes it. Sums appear when their tick is complete, single sales at once.
pub fn sales_pass<'scope>(sales: VecCollection<'scope, Tick, PlacedSale, Diff>, parts: Parts) -> SalesPass<'scope> {
    let mut builder = OperatorBuilder::new("Sales pass".to_owned(), sales.scope());
    let mut input = builder.new_input(sales.inner, Pipeline);
    let (cells, cells_stream) = builder.new_output::<Vec<(SalesCell, Tick, SalesMeasures)>>();
    let (products, products_stream) = builder.new_output::<Vec<(ProductCell, Tick, SalesMeasures)>>();
    let (mismatches, mismatches_stream) = builder.new_output::<Vec<((), Tick, Diff)>>();
    let (buyers_sales, buyers_sales_stream) = builder.new_output::<Vec<((Text, BuyersSale), Tick, Diff)>>();
    let (dealings, dealings_stream) = builder.new_output::<Vec<(Dealing, Tick, Diff)>>();
    let (mut cells, mut products) = (OutputBuilder::from(cells), OutputBuilder::from(products));
    let mut mismatches = OutputBuilder::from(mismatches);
    let (mut buyers_sales, mut dealings) = (OutputBuilder::from(buyers_sales), OutputBuilder::from(dealings));

    builder.build(move |_capabilities| {
        let mut open: BTreeMap<Tick, Open> = BTreeMap::new();
        move |frontiers| {
            let (mut buyers_sales, mut dealings) = (buyers_sales.activate(), dealings.activate());
            input.for_each_stamp(|capability, data| {
                let mut buyers_sales = buyers_sales.session(&capability);
                let mut dealings = dealings.session(&capability);
                for (PlacedSale { sale, partition }, tick, difference) in data.flat_map(|batch| batch.drain(..)) {
                    let open = open.entry(tick).or_insert_with(|| Open {
                        capabilities: [0, 1, 2].map(|output| capability.delayed(&tick, output)),
                        cells: Sums::new(),
                        products: Sums::new(),
                        mismatches: 0,
                    });
                    if is_mismatch(&sale) {
                        open.mismatches += difference;
                    }
                    let measures = SalesMeasures::of(&sale).multiply(&difference);
                    let minute = Window::of(Granularity::Minute, sale.timestamp);
                    let Sale { transaction_id, user_id, product_id, total_amount, timestamp, .. } = sale;
                    let Sale { payment_method, store_id, category, .. } = sale;
                    if parts.cells {
                        let cell = SalesCell { window: minute, category, store_id, payment_method };
                        add(&mut open.cells, cell, measures);
                    }
                    if parts.products {
                        add(&mut open.products, (minute, product_id.clone()), measures);
                    }
                    let amount = total_amount.0;
                    if parts.dealings {
                        let side = Side::Sale;
                        let dealing = Dealing { user_id: user_id.clone(), product_id, amount, timestamp, side };
                        dealings.give((dealing, tick, difference));
                    }
                    if parts.buyers_sales {
                        let buyers_sale = BuyersSale { timestamp, transaction_id, partition, total_amount: amount };
                        buyers_sales.give(((user_id, buyers_sale), tick, difference));
                    }
                }
            });
            let (mut cells, mut products) = (cells.activate(), products.activate());
            let mut mismatches = mismatches.activate();
            while let Some(entry) = open.first_entry() {
                if frontiers[0].less_equal(entry.key()) {
                    break;
                }
                let (tick, done) = entry.remove_entry();
                let [for_cells, for_products, for_mismatches] = &done.capabilities;
                give_all(done.cells, tick, &mut |update| cells.session(for_cells).give(update));
                give_all(done.products, tick, &mut |update| products.session(for_products).give(update));
                if done.mismatches != 0 {
                    mismatches.session(for_mismatches).give(((), tick, done.mismatches));
                }
            }
        }
    });
    SalesPass {
        cells: cells_stream.as_collection(),
        products: products_stream.as_collection(),
        mismatches: mismatches_stream.as_collection(),
        buyers_sales: buyers_sales_stream.as_collection(),
        dealings: dealings_stream.as_collection(),
    }
}

fn give_all<K, M: IsZero>(sums: Sums<K, M>, tick: Tick, give: &mut dyn FnMut((K, Tick, M))) {
    for (key, measure) in sums {
        if !measure.is_zero() {
            give((key, tick, measure));
        }
    }
}
