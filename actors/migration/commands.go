package migration

import (
	"context"
	"errors"
	"time"

	"hawser/messages"
	"hawser/persistence"
	"hawser/persistence/encryption"
)

const (
	// loadWait is how long a command waits for the first look at the stored progress, and each of its own looks at most.
	loadWait = 3 * time.Second
	// abortWait is how long an abort waits for the batch under way before it answers with the counters of the one before.
	abortWait = 3 * time.Second
	// rememberFor is how long a request is not executed again (decision D7).
	rememberFor = 2 * time.Minute
)

// answer is a reply that is repeated when its request is delivered again.
type answer struct {
	reply messages.Reply
	at    time.Time
}

func (a *activation) ask(ctx context.Context, c messages.Command) (messages.Reply, error) {
	wait := time.NewTimer(loadWait)
	defer wait.Stop()
	select {
	case <-a.loaded:
	case <-wait.C:
		return messages.ErrorReply(messages.NewMigrationUnavailable()), nil
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
	switch c.Type {
	case messages.MigrateEncryptionStatus:
		return a.status(ctx)
	case messages.MigrateEncryption:
		return a.once(ctx, c, a.start)
	case messages.MigrateEncryptionAbort:
		return a.once(ctx, c, a.abort)
	default:
		return messages.Reply{}, messages.ErrNotTaken
	}
}

// once executes commands that change something one after the other, each request once.
func (a *activation) once(ctx context.Context, c messages.Command, execute func(context.Context, messages.Command) (messages.Reply, error)) (messages.Reply, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
	switch {
	case ctx.Err() != nil: // nobody waits for the answer any more
		return messages.Reply{}, ctx.Err()
	case a.ctx.Err() != nil: // the node gave the migration away meanwhile
		return messages.Reply{}, messages.ErrNoLease
	}
	now := a.opts.Now()
	for id, known := range a.answers {
		if now.Sub(known.at) > rememberFor {
			delete(a.answers, id)
		}
	}
	if known, ok := a.answers[c.RequestID]; ok && c.RequestID != "" {
		return known.reply, nil
	}
	reply, err := execute(ctx, c)
	if err == nil && c.RequestID != "" && reply.Status < 500 {
		a.answers[c.RequestID] = answer{reply, now}
	}
	return reply, err
}

// read is one look at the stored progress.
func (a *activation) read(ctx context.Context) (Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	return load(ctx, a.opts.Store)
}

// unavailable answers a command that needs the stored progress, or the other nodes, and cannot have them.
func (a *activation) unavailable(ctx context.Context, what string, err error) (messages.Reply, error) {
	if ctx.Err() != nil {
		return messages.Reply{}, ctx.Err()
	}
	a.opts.Log.Error(what, "error", err)
	return messages.ErrorReply(messages.NewMigrationUnavailable()), nil
}

// status answers from memory while a migration runs and after a dry run, which is stored nowhere, else from the store.
func (a *activation) status(ctx context.Context) (messages.Reply, error) {
	if x, running := a.last(); x != nil {
		if p := x.now(); running || p.DryRun {
			return messages.MigrationStatusReply(p.Status(running)), nil
		}
	}
	p, err := a.read(ctx)
	if err != nil {
		return a.unavailable(ctx, "the progress of the encryption migration could not be read", err)
	}
	return messages.MigrationStatusReply(p.Status(false)), nil
}

// start executes migrateEncryption. What is answered with 202 is stored before (decision O4), so that it goes on wherever
// the singleton moves; a dry run touches nothing (decision D26).
func (a *activation) start(ctx context.Context, c messages.Command) (messages.Reply, error) {
	dryRun, resume := messages.MigrationRequest(c)
	if x, running := a.last(); running {
		if p := x.now(); c.RequestID != "" && p.RequestID == c.RequestID { // accepted by the owner before
			return messages.MigrationStartedReply(p.Phase.public(), dryRun, resume, p.StartedAt), nil
		}
		return messages.ErrorReply(messages.NewMigrationInProgress()), nil
	}
	ring := a.opts.Ring()
	keys, err := keysOf(ring)
	switch {
	case errors.Is(err, encryption.ErrMisconfigured):
		return messages.ErrorReply(messages.NewEncryptionMisconfigured(encryption.KeyVariable)), nil
	case err != nil:
		return messages.ErrorReply(messages.NewEncryptionNotConfigured()), nil
	}
	stored, err := a.read(ctx)
	if err != nil && (resume || !errors.Is(err, errDocument)) {
		return a.unavailable(ctx, "the progress of the encryption migration could not be read", err)
	}
	now := a.opts.Now()
	p := Begin(keys, dryRun, c.RequestID, now)
	switch {
	case c.RequestID != "" && stored.RequestID == c.RequestID: // accepted by the owner before, and ended since
		return messages.MigrationStartedReply(stored.Phase.public(), dryRun, resume, stored.StartedAt), nil
	case resume && !stored.Resumable():
		return messages.MigrationStartedReply(messages.MigrationAlreadyCompleted, false, true, either(stored.StartedAt, instant(now))), nil
	case resume:
		p = stored.Resume(keys, dryRun, c.RequestID, now)
	}
	differ, err := a.otherKeys(ctx, ring)
	switch {
	case err != nil:
		return a.unavailable(ctx, "the encryption keys of the other nodes could not be compared", err)
	case len(differ) > 0:
		return messages.ErrorReply(messages.NewKeysDiffer(differ)), nil
	}
	if !dryRun {
		brief, cancel := context.WithTimeout(ctx, loadWait)
		err := store(brief, a.opts, p)
		cancel()
		if errors.Is(err, persistence.ErrFenced) {
			return messages.Reply{}, messages.ErrNoLease
		}
		if err != nil {
			a.spawn(func() { a.settle(ring, p) }, func() {})
			return a.unavailable(ctx, "the start of the encryption migration could not be saved", err)
		}
	}
	if !a.launch(ring, p) {
		return messages.Reply{}, messages.ErrNoLease
	}
	return messages.MigrationStartedReply(p.Phase.public(), dryRun, resume, p.StartedAt), nil
}

func either(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}

// otherKeys are the live instances whose ring differs from this one (decision D29).
func (a *activation) otherKeys(ctx context.Context, ring *encryption.Keyring) ([]string, error) {
	if a.opts.Fingerprints == nil {
		return nil, nil
	}
	all, err := a.opts.Fingerprints(ctx)
	var differ []string
	for instance, fingerprint := range all {
		if fingerprint != ring.Fingerprint() {
			differ = append(differ, instance)
		}
	}
	return differ, err
}

// abort executes migrateEncryptionAbort: the batch under way is still committed and counted. The answer says that it is
// stored that the migration is aborted, so that no other node goes on with it.
func (a *activation) abort(ctx context.Context, c messages.Command) (messages.Reply, error) {
	x, running := a.last()
	if !running {
		return a.abortedBefore(ctx, c)
	}
	at := instant(a.opts.Now())
	x.stop(c.RequestID, at)
	wait := time.NewTimer(abortWait)
	defer wait.Stop()
	select {
	case <-x.done:
	case <-wait.C:
		return a.unavailable(ctx, "the abort of the encryption migration is not saved yet", errors.New("the store does not answer"))
	case <-ctx.Done():
		return messages.Reply{}, ctx.Err()
	}
	switch p := x.now(); p.State {
	case Aborted:
		return aborted(p, at), nil
	case Ended:
		return messages.ErrorReply(messages.NewMigrationNotRunning()), nil
	default: // it goes on elsewhere
		return messages.Reply{}, messages.ErrNoLease
	}
}

func aborted(p Progress, at time.Time) messages.Reply {
	return messages.MigrationAbortedReply(p.Phase.public(), p.Snapshots.MigrationCounts, p.Journal.MigrationCounts, at)
}

// abortedBefore answers an abort while nothing runs: it may be one that the owner before has executed.
func (a *activation) abortedBefore(ctx context.Context, c messages.Command) (messages.Reply, error) {
	if c.RequestID != "" {
		stored, err := a.read(ctx)
		if err == nil && stored.State == Aborted && stored.RequestID == c.RequestID {
			return aborted(stored, stored.UpdatedAt), nil
		}
	}
	return messages.ErrorReply(messages.NewMigrationNotRunning()), nil
}
