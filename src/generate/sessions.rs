//! People in the shop's app and web pages: sessions that look, fill a cart, and sometimes buy.
//!
//! ```text
//! login? ─► page_view ─► search | page_view | page_view of a product ─► add_to_cart … ─► checkout ─► purchase … ─► logout?
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tillflow_dataflows::records::Millis;

use super::catalogue::{Catalogue, USER_AGENTS};
use super::dice::Dice;
use super::rows::ActivityRow;

const SECOND: Millis = 1_000;

/// The most sessions at a time. When as many are open, people act earlier than they would have, and no new session
/// begins until one ends.
const OPEN_SESSIONS: usize = 50_000;

const CART: usize = 3;

#[derive(Clone, Copy)]
enum Stage {
    Login,
    Browse,
    Checkout,
    Purchase(usize),
    Logout,
}

#[derive(Clone, Copy)]
struct CartItem {
    product: usize,
    quantity: i64,
    unit_price: i64,
}

#[derive(Clone)]
struct Session {
    number: u64,
    user: u32,
    address: u32,
    user_agent: Option<&'static str>,
    logged_in: bool,
    stage: Stage,
    /// Events that are left of browsing.
    views: u32,
    /// The product last looked at, while it can be put into the cart.
    looked_at: Option<usize>,
    cart: Vec<CartItem>,
    last_event: Millis,
}

/// A purchase that a session has just made; a sale must follow.
pub(super) struct Purchase {
    pub(super) user: u32,
    pub(super) product: usize,
    pub(super) quantity: i64,
    pub(super) unit_price: i64,
    pub(super) timestamp: Millis,
}

/// All open sessions, and when each acts next.
pub(super) struct Sessions {
    sessions: Vec<Session>,
    free: Vec<usize>,
    /// (when, ticket, place in `sessions`); tickets keep the order of events that are due at the same time.
    next: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    ticket: u64,
}

impl Sessions {
    pub(super) fn new() -> Sessions {
        Sessions { sessions: Vec::new(), free: Vec::new(), next: BinaryHeap::new(), ticket: 0 }
    }

    /// The event that happens at `now`: the one that is overdue the longest, else a new session's first. `user` picks
    /// who begins a session, `available` tells whether a product can be had by a user.
    pub(super) fn act(
        &mut self,
        now: Millis,
        catalogue: &Catalogue,
        dice: &mut Dice,
        user: impl FnOnce(&mut Dice) -> u32,
        available: impl Fn(u32, usize) -> bool,
    ) -> (ActivityRow, Option<Purchase>) {
        let full = self.next.len() >= OPEN_SESSIONS;
        let place = match self.next.peek() {
            Some(Reverse((due, _, place))) if *due <= now || full => {
                let place = *place;
                self.next.pop();
                place
            }
            _ => {
                let session = open(user(dice), now, dice);
                match self.free.pop() {
                    Some(place) => {
                        self.sessions[place] = session;
                        place
                    }
                    None => {
                        self.sessions.push(session);
                        self.sessions.len() - 1
                    }
                }
            }
        };
        let session = &mut self.sessions[place];
        // Within a session, time never stands still, nor does it pass the clock where that can be helped.
        let timestamp = (now - dice.between(0, 900)).max(session.last_event + 1);
        session.last_event = timestamp;
        let (row, purchase, pause) = session.step(timestamp, catalogue, dice, available);
        match pause {
            Some(pause) => {
                self.ticket += 1;
                self.next.push(Reverse((now + pause, self.ticket, place)));
            }
            None => self.free.push(place),
        }
        (row, purchase)
    }
}

fn open(user: u32, now: Millis, dice: &mut Dice) -> Session {
    let logged_in = dice.percent(55);
    // A visitor who does not log in often leaves after the first page.
    let views = if !logged_in && dice.percent(45) { 1 } else { 2 + dice.below(8) };
    Session {
        number: dice.bits64(),
        user,
        address: dice.bits32(),
        user_agent: (!dice.percent(4)).then(|| dice.pick(&USER_AGENTS)),
        logged_in,
        stage: if logged_in { Stage::Login } else { Stage::Browse },
        views,
        looked_at: None,
        cart: Vec::new(),
        last_event: now - SECOND,
    }
}

impl Session {
    /// The session's next event, what it bought, and how long it pauses before the one after; no pause = it ends.
    fn step(
        &mut self,
        timestamp: Millis,
        catalogue: &Catalogue,
        dice: &mut Dice,
        available: impl Fn(u32, usize) -> bool,
    ) -> (ActivityRow, Option<Purchase>, Option<Millis>) {
        let mut row = ActivityRow {
            user: self.user,
            activity_type: "page_view",
            timestamp,
            session: self.number,
            address: self.address,
            user_agent: self.user_agent,
            product: None,
            amount: None,
        };
        let mut purchase = None;
        let next = match self.stage {
            Stage::Login => {
                row.activity_type = "login";
                Some(Stage::Browse)
            }
            Stage::Browse => {
                self.browse(&mut row, catalogue, dice, available);
                self.views = self.views.saturating_sub(1);
                if self.views > 0 {
                    Some(Stage::Browse)
                } else if !self.cart.is_empty() && dice.percent(70) {
                    Some(Stage::Checkout)
                } else {
                    self.leave(dice)
                }
            }
            Stage::Checkout => {
                row.activity_type = "checkout";
                if dice.percent(85) { Some(Stage::Purchase(0)) } else { self.leave(dice) }
            }
            Stage::Purchase(place) => {
                let CartItem { product, quantity, unit_price } = self.cart[place];
                row.activity_type = "purchase";
                row.product = Some(product);
                row.amount = Some(quantity * unit_price);
                purchase = Some(Purchase { user: self.user, product, quantity, unit_price, timestamp });
                if place + 1 < self.cart.len() { Some(Stage::Purchase(place + 1)) } else { self.leave(dice) }
            }
            Stage::Logout => {
                row.activity_type = "logout";
                None
            }
        };
        let pause = next.map(|stage| {
            self.stage = stage;
            match stage {
                Stage::Login => 0,
                Stage::Browse => dice.between(3, 50) * SECOND,
                Stage::Checkout | Stage::Logout => dice.between(5, 60) * SECOND,
                // Paying takes a while; the items of one cart are bought in one go.
                Stage::Purchase(0) => dice.between(15, 75) * SECOND,
                Stage::Purchase(_) => dice.between(0, 200),
            }
        });
        (row, purchase, pause)
    }

    fn browse(
        &mut self,
        row: &mut ActivityRow,
        catalogue: &Catalogue,
        dice: &mut Dice,
        available: impl Fn(u32, usize) -> bool,
    ) {
        if let Some(product) = self.looked_at.take()
            && self.cart.len() < CART
            && dice.percent(30)
            && available(self.user, product)
        {
            row.activity_type = "add_to_cart";
            row.product = Some(product);
            let quantity = if dice.percent(80) { 1 } else { 2 };
            self.cart.push(CartItem { product, quantity, unit_price: catalogue.price(product) });
            return;
        }
        match dice.below(100) {
            0..58 => {
                let product = catalogue.popularity.draw(dice);
                row.product = Some(product);
                self.looked_at = Some(product);
            }
            58..80 => {}
            _ => row.activity_type = "search",
        }
    }

    fn leave(&self, dice: &mut Dice) -> Option<Stage> {
        (self.logged_in && dice.percent(50)).then_some(Stage::Logout)
    }
}
