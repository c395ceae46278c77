//! What single sales add to.

use differential_dataflow::difference::Multiply;
use differential_dataflow::input::InputSession;
use timely::dataflow::Scope;

use super::Parts;
use super::names::{Name, Names};
use super::sums::{NamedSums, advance};
use crate::admission::{PlacedSale, Symbols};
use crate::cells::{ProductCell, SalesCell};
use crate::inputs::{Dealing, SalesInputs};
use crate::measures::SalesMeasures;
use crate::records::{Sale, Text};
use crate::time::{Diff, Granularity, Tick, Window};
use crate::views::arithmetic_mismatch::is_mismatch;
use crate::views::customers::BuyersSale;
use crate::views::purchases_unmatched::deal_of_sale;

/// What is sold in a minute, where and how; what of it. Names stand for one text each until a tick's sums have left.
type CellKey = (Minute, [Name; 3]);
type ProductKey = (Minute, Name);

/// Minutes since 1970: in half the bytes of an instant.
type Minute = u32;

/// The inputs that are made of sales.
pub(super) struct SalesFeed {
    parts: Parts,
    names: Names,
    cells: NamedSums<CellKey, SalesCell, SalesMeasures>,
    products: NamedSums<ProductKey, ProductCell, SalesMeasures>,
    mismatches: InputSession<Tick, (), Diff>,
    buyers_sales: InputSession<Tick, (Text, BuyersSale), Diff>,
    dealings: InputSession<Tick, Dealing, Diff>,
    records: InputSession<Tick, Sale, Diff>,
}

impl SalesFeed {
    pub(super) fn new(parts: Parts) -> SalesFeed {
        SalesFeed {
            parts,
            names: Names::new(),
            cells: NamedSums::new(),
            products: NamedSums::new(),
            mismatches: InputSession::new(),
            buyers_sales: InputSession::new(),
            dealings: InputSession::new(),
            records: InputSession::new(),
        }
    }

    pub(super) fn inputs<'scope>(&mut self, scope: Scope<'scope, Tick>) -> SalesInputs<'scope> {
        SalesInputs {
            cells: self.cells.collection(scope),
            products: self.products.collection(scope),
            mismatches: self.mismatches.to_collection(scope),
            buyers_sales: self.buyers_sales.to_collection(scope),
            dealings: self.dealings.to_collection(scope),
            records: self.records.to_collection(scope),
        }
    }

    #[inline(never)]
    pub(super) fn take(&mut self, placed: &PlacedSale<'_>, difference: Diff) {
        let PlacedSale { sale, partition, symbols } = placed;
        let Symbols { product_id, payment_method, store_id, category } = *symbols;
        let measures = SalesMeasures::of(sale).multiply(&difference);
        let window = Window::of(Granularity::Minute, sale.timestamp);
        let minute = || Minute::try_from(window.start / 60_000).expect("from 1970 to 9999, says the codec");
        if self.parts.sales_cells {
            let names = self.names.of(
                *partition,
                [(category, sale.category), (store_id, sale.store_id), (payment_method, sale.payment_method)],
            );
            self.cells.add((minute(), names), measures, || SalesCell {
                window,
                category: sale.category.into(),
                store_id: sale.store_id.into(),
                payment_method: sale.payment_method.into(),
            });
        }
        if self.parts.sales_products {
            let [product] = self.names.of(*partition, [(product_id, sale.product_id)]);
            self.products.add((minute(), product), measures, || (window, sale.product_id.into()));
        }
        if self.parts.mismatches && is_mismatch(sale) {
            self.mismatches.update((), difference);
        }
        if self.parts.buyers_sales {
            self.buyers_sales.update((sale.user_id.into(), BuyersSale::of(sale, *partition)), difference);
        }
        if self.parts.dealings {
            self.dealings.update(deal_of_sale(sale), difference);
        }
        if self.parts.sales_records {
            self.records.update(sale.owned(), difference);
        }
    }

    pub(super) fn advance_to(&mut self, tick: Tick) {
        self.cells.advance_to(tick);
        self.products.advance_to(tick);
        self.names.forget();
        advance(&mut self.mismatches, tick);
        advance(&mut self.buyers_sales, tick);
        advance(&mut self.dealings, tick);
        advance(&mut self.records, tick);
    }
}
