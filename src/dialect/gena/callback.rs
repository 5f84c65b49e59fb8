//! Events: what the device delivers, and how it is answered.

use crate::dialect::{Delivery, Verdict};
use crate::http1::Response;
use crate::mailbox::Class;

/// The only method that GENA calls back with.
pub const METHOD: &str = "NOTIFY";

/// What an event says of itself: each is as good as any other, and none may take another's place.
pub fn read_callback() -> Delivery {
    Delivery { class: Class::Message, deep_ack: false }
}

/// The answer to an event (UPnP Device Architecture §4.3.2).
///
/// 412 says that the subscription is over: libupnp drops it then. What only found no room is answered
/// otherwise, so that the device goes on counting, and the control point sees that it missed something.
pub fn word(verdict: Verdict) -> Response {
    match verdict {
        Verdict::Accepted => Response::new(200),
        Verdict::Refused(refusal) => refusal.answer(METHOD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::CallbackRefusal;
    use crate::mailbox::Refusal;

    #[test]
    fn only_a_subscription_that_is_over_is_answered_so() {
        assert_eq!(word(Verdict::Accepted).status, 200);
        for refusal in CallbackRefusal::ALL {
            let over = matches!(refusal, CallbackRefusal::Unknown | CallbackRefusal::Ambiguous);
            assert_eq!(word(Verdict::Refused(refusal)).status == 412, over, "{refusal:?}");
        }
        assert_eq!(word(Verdict::Refused(Refusal::Full.into())).status, 503);
    }
}
