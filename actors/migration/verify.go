package migration

import (
	"context"

	"hawser/persistence"
)

// passes is how often the verification walks at most.
const passes = 3

// verify walks all documents once more (decision D28): only when a whole walk finds nothing but what is known to have
// failed does the migration end, and failed is then exactly what is left. A document in the old form that turns up behind the
// walk was appended by a node that still had the old keys, or its append was under way when they were exchanged; it is
// migrated now, and the walk is repeated. In the last pass such documents count as failed.
func (x *run) verify(ctx context.Context) error {
	x.verifying.Store(true)
	for pass := 1; ; pass++ {
		left, late := map[persistence.Table]int64{}, int64(0)
		for _, t := range tables {
			err := x.walk(ctx, t, 0, pace{}, func(ctx context.Context, b batch) error {
				found, err := x.recheck(ctx, b, pass == passes)
				left[t] += found.left
				late += found.late
				return err
			})
			if err != nil {
				return err
			}
		}
		if late > 0 {
			x.log.Warn("documents in the old form had been written behind the migration; do all nodes have the same keys?", "documents", late, "pass", pass)
		}
		if late > 0 && pass < passes {
			continue
		}
		next := x.now()
		for _, t := range tables {
			next = next.Remain(t, left[t], x.opts.Now())
		}
		return x.save(ctx, next.Enter(Completed, x.opts.Now()))
	}
}

// finding is what the verification sees in a batch: documents that cannot be migrated, and documents that were passed over.
type finding struct{ left, late int64 }

// recheck migrates what was passed over, unless it is the last pass.
func (x *run) recheck(ctx context.Context, b batch, last bool) (finding, error) {
	var found finding
	over := batch{table: b.table}
	for _, it := range b.items {
		switch it.outcome {
		case failed:
			found.left++
		case changed:
			found.late++
			over.items = append(over.items, it)
		}
	}
	if err := x.check(); err != nil {
		return found, err
	}
	x.moved(b.table, b.items[len(b.items)-1].id, len(b.items))
	switch {
	case len(over.items) == 0:
		return found, nil
	case last:
		found.left += found.late
		for _, it := range over.items {
			x.log.Warn("a stored document is in the old form again", "table", b.table, "id", it.id, "pid", it.pid)
		}
		return found, nil
	}
	return found, x.inParts(ctx, over, func(ctx context.Context, part batch) error { return x.apply(ctx, part, false) })
}
