package devops

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"hawser/messages"
)

// round is one command for a target that every node has, and who is to answer it (contract piggyback.md 1.6).
type round struct {
	target    string
	command   messages.Command
	wait      time.Duration // what each instance may take
	instances []string
	// expected is the number of replies after which the round is over; it is larger than the number of instances when one of
	// a group was asked and all are waited for.
	expected int
}

// answerOf is what became of the command at one instance.
type answerOf struct {
	instance string
	reply    messages.Reply
	err      error
}

// collect asks all instances of a round at once and takes their replies until enough are there or none came for as long
// as the gateway waits. It is done everywhere even when the first reply is enough. False: the client went away.
func (h *Handler) collect(ctx context.Context, r round) (outcome, bool) {
	answers := make(chan answerOf, len(r.instances))
	for _, instance := range r.instances {
		h.asks.Go(func() {
			asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(r.wait, h.opts.RequestTimeout))
			defer cancel()
			reply, err := h.opts.Nodes.AskInstance(asking, instance, r.target, r.command)
			answers <- answerOf{instance, reply, err}
		})
	}
	idle := min(max(r.wait, defaultAsk), h.opts.RequestTimeout)
	quiet := time.NewTimer(idle)
	defer quiet.Stop()
	giveUp := time.NewTimer(h.opts.RequestTimeout)
	defer giveUp.Stop()
	var collected outcome
	for waiting := len(r.instances); len(collected.replies) < r.expected; {
		if waiting == 0 && r.expected <= len(r.instances) { // who did not reply will not
			break
		}
		select {
		case a := <-answers:
			waiting--
			if errors.Is(a.err, context.DeadlineExceeded) && r.wait >= defaultAsk {
				continue // the gateway's own wait ends at the same time, and wins
			}
			collected.replies = append(collected.replies, h.settle(ctx, a, r).replies...)
			quiet.Reset(idle)
			continue
		case <-quiet.C:
		case <-giveUp.C:
		case <-ctx.Done():
			return outcome{}, false
		}
		break
	}
	if len(collected.replies) == 0 {
		return h.late("", r.target, max(r.wait, defaultAsk)), true
	}
	slices.SortFunc(collected.replies, func(a, b entry) int { return strings.Compare(a.instance, b.instance) })
	return collected, true
}

// settle is one instance's answer as a reply: what it said, or an E2 about it.
func (h *Handler) settle(ctx context.Context, a answerOf, r round) outcome {
	var failure *messages.Error
	switch {
	case a.err == nil:
		return replied(a.instance, a.reply.Body)
	case errors.Is(a.err, context.DeadlineExceeded):
		return h.around(a.instance, messages.NewAskError(r.target, r.wait))
	case errors.Is(a.err, messages.ErrInstanceNotFound):
		return h.around(a.instance, messages.NewInstanceNotFound(a.instance))
	case errors.Is(a.err, messages.ErrTargetNotFound):
		return h.around(a.instance, messages.NewTargetNotFound(r.target, h.selections))
	case errors.Is(a.err, messages.ErrNotTaken):
		return h.around(a.instance, messages.NewNotParsable(r.command.Type))
	case errors.As(a.err, &failure):
		return h.around(a.instance, failure)
	}
	h.opts.Log.LogAttrs(ctx, slog.LevelWarn, "an instance did not answer for itself", slog.String("correlation_id", r.command.Headers[messages.HeaderCorrelationID]),
		slog.String("type", r.command.Type), slog.String("asked", a.instance), slog.Any("error", a.err))
	return h.around(a.instance, askFailed(r.target))
}

func askFailed(target string) *messages.Error {
	return &messages.Error{
		Status: http.StatusServiceUnavailable, Code: "ask.error", Message: "Asking [" + target + "] failed.", Description: "Try again.",
	}
}

// Wait waits until nothing is asked any more; call it after the last request.
func (h *Handler) Wait() { h.asks.Wait() }
