//! When an answer is believed: after several equal ones in a row.
//!
//! After any change of a policy one more request may pass over a pooled connection under the old rule while Envoy
//! drains. One answer is therefore neither a denial nor a leak.

/// How many equal answers in a row are believed.
pub const EQUAL_ANSWERS: usize = 3;
/// How many answers are asked for before "they keep changing" is the answer.
pub const MOST_ANSWERS: usize = 9;

/// The answer that came [`EQUAL_ANSWERS`] times in a row at the end, if there is one.
pub fn believed<Answer: PartialEq>(answers: &[Answer]) -> Option<&Answer> {
    let last = answers.last()?;
    let equal = answers.iter().rev().take_while(|answer| *answer == last).count();
    (equal >= EQUAL_ANSWERS).then_some(last)
}

/// Asks until an answer can be believed. Returns it, or `None` when the answers kept changing, with all of them.
pub async fn ask<Answer, Asking>(mut question: impl FnMut() -> Asking) -> (Option<Answer>, Vec<Answer>)
where
    Answer: PartialEq + Clone,
    Asking: Future<Output = Answer>,
{
    let mut answers = Vec::new();
    while answers.len() < MOST_ANSWERS && believed(&answers).is_none() {
        answers.push(question().await);
    }
    (believed(&answers).cloned(), answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_believed_and_nothing_less() {
        for (answers, expected) in [
            ("", None),
            ("d", None),
            ("dd", None),
            ("ddd", Some('d')),
            ("pddd", Some('d')),
            ("dpd", None),
            ("ddpdd", None),
            ("dddp", None),
            ("dppp", Some('p')),
        ] {
            let answers: Vec<char> = answers.chars().collect();
            assert_eq!(believed(&answers).copied(), expected, "{answers:?}");
        }
    }

    #[tokio::test]
    async fn asking_stops_when_an_answer_is_believed_or_when_it_keeps_changing() {
        let mut script = "pddd".chars();
        let (answer, answers) = ask(|| std::future::ready(script.next().unwrap_or('!'))).await;
        assert_eq!((answer, answers.len()), (Some('d'), 4));
        let mut count = 0;
        let (answer, answers) = ask(|| {
            count += 1;
            std::future::ready(count % 2)
        })
        .await;
        assert_eq!((answer, answers.len()), (None, MOST_ANSWERS));
    }
}
