//! Between the stream's words and the frames of the account's owner: names differ, meanings do not.

use peer::shard::HashKey;
use peer::{AuthRefusal, BindRefusal, Down, ResumeRefusal};
use session::attachment::{Addressed, Attachment};
use stream::{Answer, Ask};

/// The frame that says to the owner what the stream says. `None` where there is nobody to say it
/// to: the session was given up meanwhile.
pub(crate) fn frame(attachment: &mut Attachment, key: &HashKey, ask: Ask) -> Option<Addressed> {
    match ask {
        Ask::Challenge { account, hash } => Some(attachment.challenge(key, account, hash)),
        Ask::Verify { hash, auth_message, proof, .. } => {
            attachment.verify(hash, auth_message, proof.expose().to_vec().into())
        }
        Ask::Bind { resource, .. } => attachment.bind(resource),
        // What is not text is no id of ours either, and takes the way of those.
        Ask::Resume { session, h, .. } => attachment.resume(session.expose_str().unwrap_or(""), h),
        Ask::Enable { resume } => attachment.enable(resume),
        Ask::Stanza { number, stanza } => attachment.stanza(number, stanza),
        Ask::Judged { number, reply } => attachment.judged(number, reply),
        Ask::Taken { number } => attachment.taken(number),
        Ask::Ended => attachment.ended(),
    }
}

/// What the owner's frame means to the stream. `None`: nothing, it is for the edge.
pub(crate) fn answer(frame: Down) -> Option<Answer> {
    Some(match frame {
        Down::Challenge { salt, iterations } => Answer::Challenge { salt, iterations },
        Down::Verified { signature, generation } => Answer::Verified { signature, generation },
        Down::Refused(why) => Answer::Refused(auth_refusal(why)),
        Down::Bound { jid, .. } => Answer::Bound { jid },
        Down::BindRefused(why) => Answer::BindRefused(bind_refusal(why)),
        Down::Enabled { session, resume_s } => Answer::Enabled { id: session.to_sm_id(), resume_s },
        Down::Resumed { session, jid, handled, taken, .. } => {
            Answer::Resumed { id: session.to_sm_id(), jid, handled, taken }
        }
        Down::ResumeFailed { why, handled } => {
            Answer::ResumeFailed { why: resume_refusal(why), handled }
        }
        Down::Stanza { number, stanza, .. } => Answer::Stanza { number, stanza },
        Down::Handled { number } => Answer::Handled { number },
        Down::Snapshot { .. } => return None,
        Down::Close { condition } => Answer::Close { condition },
    })
}

fn auth_refusal(why: AuthRefusal) -> stream::AuthRefusal {
    match why {
        AuthRefusal::NotAuthorized => stream::AuthRefusal::NotAuthorized,
        AuthRefusal::AccountDisabled => stream::AuthRefusal::AccountDisabled,
        AuthRefusal::TemporaryAuthFailure => stream::AuthRefusal::TemporaryAuthFailure,
    }
}

fn bind_refusal(why: BindRefusal) -> stream::BindRefusal {
    match why {
        BindRefusal::BadRequest => stream::BindRefusal::BadRequest,
        BindRefusal::ResourceConstraint => stream::BindRefusal::ResourceConstraint,
        BindRefusal::NotAllowed => stream::BindRefusal::NotAllowed,
        BindRefusal::InternalServerError => stream::BindRefusal::InternalServerError,
    }
}

fn resume_refusal(why: ResumeRefusal) -> stream::ResumeRefusal {
    match why {
        ResumeRefusal::ItemNotFound => stream::ResumeRefusal::ItemNotFound,
        ResumeRefusal::UnexpectedRequest => stream::ResumeRefusal::UnexpectedRequest,
        ResumeRefusal::HandledCountTooHigh { sent } => {
            stream::ResumeRefusal::HandledCountTooHigh { sent }
        }
        ResumeRefusal::InternalServerError => stream::ResumeRefusal::InternalServerError,
    }
}
