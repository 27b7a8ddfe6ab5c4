package migration

import (
	"context"
	"math"
	"time"

	"hawser/persistence"
)

// extent is the range of ids of a table: (before, last]. Ids have gaps, so what is made of it is an estimate.
type extent struct{ before, last int64 }

func (e extent) length() float64 { return float64(max(0, e.last-e.before)) }

// passed is how much of the extent lies up to id.
func (e extent) passed(id int64) float64 { return float64(min(max(id, e.before), e.last) - e.before) }

// measure finds the extent of a table by asking for single rows: about fifty short reads.
func measure(ctx context.Context, store persistence.Migrations, t persistence.Table) (extent, error) {
	first, err := store.RowsAfter(ctx, t, 0, 1)
	if err != nil || len(first) == 0 {
		return extent{}, err
	}
	last, err := newest(ctx, store, t, first[0].ID)
	return extent{before: first[0].ID - 1, last: last}, err
}

// newest finds the largest id of a table, which is known to be id or more: it strides beyond the end and halves the way back.
func newest(ctx context.Context, store persistence.Migrations, t persistence.Table, id int64) (int64, error) {
	above := func(probe int64) (bool, error) {
		rows, err := store.RowsAfter(ctx, t, probe, 1)
		if err != nil || len(rows) == 0 {
			return false, err
		}
		id = rows[0].ID
		return true, nil
	}
	beyond := id // no row has an id above it, once the first loop has ended
	for stride := int64(1); ; stride *= 2 {
		found, err := above(beyond)
		if err != nil {
			return 0, err
		}
		if !found {
			break
		}
		if id > math.MaxInt64/2 || stride > math.MaxInt64/4 {
			return id, nil
		}
		beyond = id + stride
	}
	for id < beyond {
		probe := id + (beyond-id)/2
		found, err := above(probe)
		if err != nil {
			return 0, err
		}
		if !found {
			beyond = probe
		}
	}
	return id, nil
}

// mark is a moment of a run: how many documents were counted and which share of the work was done by then.
type mark struct {
	at    time.Time
	rows  int64
	share float64
}

// window is over how long rates are taken.
const window = 10 * time.Second

// meter estimates speed and end of a run from its last ten to twenty seconds.
type meter struct{ older, newer, now mark }

// move takes note of a moment.
func (m *meter) move(now mark) {
	if m.older.at.IsZero() {
		m.older, m.newer = now, now
	}
	if now.at.Sub(m.newer.at) >= window {
		m.older, m.newer = m.newer, now
	}
	m.now = now
}

// rate is in documents per second, 0 when unknown.
func (m *meter) rate() float64 {
	took := m.now.at.Sub(m.older.at).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(m.now.rows-m.older.rows) / took
}

// end is when all will be done at the speed of late, false when that cannot be told.
func (m *meter) end() (time.Time, bool) {
	took, done := m.now.at.Sub(m.older.at), m.now.share-m.older.share
	if took <= 0 || done <= 0 {
		return time.Time{}, false
	}
	left := took.Seconds() * max(0, 1-m.now.share) / done
	if left > 1e9 {
		return time.Time{}, false
	}
	return m.now.at.Add(time.Duration(left * float64(time.Second))), true
}
