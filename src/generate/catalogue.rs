//! The shop chain that the data are about: the same products, stores and warehouses for every seed.

use super::dice::Weighted;

pub(super) const PRODUCTS: usize = 200;
pub(super) const STORES: usize = 12;
pub(super) const WAREHOUSES: usize = 4;

/// A category: its name, the lowest and highest price in cents, and how briskly it sells.
struct Category {
    name: &'static str,
    cheapest: i64,
    dearest: i64,
    weight: u32,
}

const CATEGORIES: [Category; 8] = [
    Category { name: "electronics", cheapest: 1_999, dearest: 89_999, weight: 7 },
    Category { name: "clothing", cheapest: 999, dearest: 12_999, weight: 12 },
    Category { name: "groceries", cheapest: 79, dearest: 1_899, weight: 30 },
    Category { name: "home", cheapest: 599, dearest: 24_999, weight: 9 },
    Category { name: "beauty", cheapest: 349, dearest: 5_999, weight: 12 },
    Category { name: "sports", cheapest: 899, dearest: 29_999, weight: 8 },
    Category { name: "toys", cheapest: 499, dearest: 7_999, weight: 9 },
    Category { name: "books", cheapest: 599, dearest: 3_999, weight: 13 },
];

const PAYMENT_METHODS: [(&str, u32); 5] =
    [("credit_card", 38), ("debit_card", 27), ("cash", 18), ("mobile_payment", 14), ("gift_card", 3)];

/// How much of the trade each store has.
const STORE_WEIGHTS: [u32; STORES] = [18, 14, 12, 11, 9, 8, 7, 6, 5, 4, 4, 2];

pub(super) const USER_AGENTS: [&str; 6] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "ShopApp/7.4.1 (Android 15; en-GB)",
];

/// What the chain sells, where, and how it is paid; each thing is known by its number.
pub(super) struct Catalogue {
    pub(super) popularity: Weighted,
    pub(super) stores: Weighted,
    pub(super) payment_methods: Weighted,
    prices: Vec<i64>,
}

impl Catalogue {
    pub(super) fn new() -> Catalogue {
        Catalogue {
            popularity: Weighted::new((0..PRODUCTS).map(weight)),
            stores: Weighted::new(STORE_WEIGHTS),
            payment_methods: Weighted::new(PAYMENT_METHODS.map(|(_, weight)| weight)),
            prices: (0..PRODUCTS).map(price).collect(),
        }
    }

    /// The list price of a product, in cents.
    pub(super) fn price(&self, product: usize) -> i64 {
        self.prices[product]
    }
}

/// Zipf's law with a flattened head, so that the favourite has a few parts in a hundred, times the category's briskness.
fn weight(product: usize) -> u32 {
    // 73 and 200 have no common factor: each product gets a rank of its own, mixed over the categories.
    let rank = (product * 73 + 17) % PRODUCTS;
    1_000_000 / (rank as u32 + 7) * CATEGORIES[category(product)].weight / 10
}

/// A price within the category's range, ending in 9.
fn price(product: usize) -> i64 {
    let category = &CATEGORIES[category(product)];
    let place = (product * 37 % 25) as i64;
    // Squared: most products are at the cheap end.
    let cents = category.cheapest + (category.dearest - category.cheapest) * place * place / (24 * 24);
    cents / 10 * 10 + 9
}

/// The number of a product's category.
pub(super) fn category(product: usize) -> usize {
    product % CATEGORIES.len()
}

pub(super) fn category_name(category: usize) -> &'static str {
    CATEGORIES[category % CATEGORIES.len()].name
}

/// A category other than `category`, `step` places on.
pub(super) fn other_category(category: usize, step: usize) -> usize {
    (category + 1 + step % (CATEGORIES.len() - 1)) % CATEGORIES.len()
}

pub(super) fn payment_method_name(method: usize) -> &'static str {
    PAYMENT_METHODS[method % PAYMENT_METHODS.len()].0
}

/// The warehouse that a store takes its goods from.
pub(super) fn warehouse_of(store: usize) -> usize {
    store % WAREHOUSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_has_a_head_and_a_tail() {
        let catalogue = Catalogue::new();
        let mut shares: Vec<f64> = (0..PRODUCTS).map(|product| catalogue.popularity.share(product)).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        assert!((0.03..0.12).contains(&shares[0]), "{}", shares[0]);
        assert!(shares[..20].iter().sum::<f64>() > 0.35);
        assert!(shares[PRODUCTS - 1] > 0.000_1);
    }

    #[test]
    fn prices_are_within_their_categories() {
        for product in 0..PRODUCTS {
            let range = &CATEGORIES[category(product)];
            let cents = price(product);
            assert!((range.cheapest - 10..=range.dearest + 10).contains(&cents), "product {product} costs {cents}");
            assert_eq!(cents % 10, 9);
        }
    }

    #[test]
    fn another_category_is_another_one() {
        for category in 0..8 {
            for step in 0..20 {
                assert_ne!(other_category(category, step), category);
            }
        }
    }
}
