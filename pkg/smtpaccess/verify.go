package smtpaccess

import (
	"suffix/pkg/params"
	"suffix/pkg/verifyclient"
)

// maxVerifyText bounds the reason of a refusal.
const maxVerifyText = 250

// unverified refuses an address to which mail cannot be delivered, as far as
// the verify service knows (spec smtpd-access §13).
func (e *evaluation) unverified(addr, class string) verdict {
	detail, action := "1.1", params.UnverifiedRecipientTempfailAction
	deferCode, rejectCode := params.UnverifiedRecipientDeferCode, params.UnverifiedRecipientRejectCode
	reason := e.c.unverifiedRecipientReason
	if class == classSender {
		detail, action = "1.7", params.UnverifiedSenderTempfailAction
		deferCode, rejectCode = params.UnverifiedSenderDeferCode, params.UnverifiedSenderRejectCode
		reason = e.c.unverifiedSenderReason
	}
	verdict, why, err := e.c.verify.Query(e.ctx, addr)
	for polls := 1; err == nil && verdict == verifyclient.InProgress && polls < e.c.pollCount; polls++ {
		e.wait(e.c.pollDelay)
		if e.ctx.Err() != nil {
			break
		}
		verdict, why, err = e.c.verify.Query(e.ctx, addr)
	}
	if err != nil {
		e.s.Log.Warnf("verify service failure")
		return e.tempfail(action, ClassData, 450, "4."+detail, rejected(addr, class, "address verification problem"))
	}
	var code int
	var what string
	switch verdict {
	case verifyclient.Deliverable:
		return dunno
	case verifyclient.Undeliverable:
		code, what = e.c.code(rejectCode), "undeliverable address: "
	default:
		code, what = e.c.code(deferCode), "unverified address: "
	}
	if reason != "" && code >= 400 {
		why = reason
	}
	text := rejected(addr, class, what+cutText(why, maxVerifyText))
	switch code / 100 {
	case 2:
		return dunno
	case 4:
		return e.tempfail(action, ClassPolicy, code, "4."+detail, rejected(addr, class, "unverified address: "+cutText(why, maxVerifyText)))
	}
	return e.refuse(ClassPolicy, code, "5."+detail, text)
}
