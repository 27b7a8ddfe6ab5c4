package shard

import (
	"context"
	"errors"
	"time"

	"hawser/persistence"
)

// errTaken says that another member joined with the same instance id at the same time.
var errTaken = errors.New("shard: another member took the same instance id at the same time")

// instance chooses the instance id of the next incarnation (decision O8): Member.Instance, or Spare when a live member has
// that. Who is silent for a TTL is not alive: a node that comes back at another address keeps its name. silent are such
// members, with their beats.
func (m *Membership) instance(ctx context.Context) (instance string, silent map[persistence.MemberID]int64, err error) {
	name := m.opts.Member.Instance
	switch {
	case m.spare:
		return m.opts.Spare, nil, nil
	case m.opts.Spare == "":
		return name, nil, nil
	}
	first, err := m.holders(ctx, name)
	if err != nil || len(first) == 0 {
		return name, nil, err
	}
	m.log.Info("another member has this instance id: waiting for a sign of life", "within", m.opts.TTL.String())
	began := m.now()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", nil, ctx.Err()
		case <-ticker.C:
		}
		now, err := m.holders(ctx, name)
		if err != nil {
			return "", nil, err
		}
		for id, beat := range now {
			if seen, known := first[id]; !known || seen != beat {
				m.takeSpare(id)
				return m.opts.Spare, nil, nil
			}
		}
		if len(now) == 0 || m.now().Sub(began) >= m.opts.TTL {
			return name, now, nil
		}
	}
}

// alone checks after joining that nobody else joined with the same instance id since instance looked. Of two that join at
// the same moment at least one sees the other, and may be both do: then both take their spare.
func (m *Membership) alone(ctx context.Context, joined persistence.Member, silent map[persistence.MemberID]int64) error {
	if m.spare || m.opts.Spare == "" {
		return nil
	}
	others, err := m.holders(ctx, joined.Instance)
	if err != nil {
		return err
	}
	delete(others, joined.ID)
	for id, beat := range others {
		if seen, known := silent[id]; !known || seen != beat {
			m.takeSpare(id)
			return errTaken
		}
	}
	return nil
}

func (m *Membership) takeSpare(other persistence.MemberID) {
	m.spare = true
	m.log.Warn("another member has this instance id", "other", other, "taking", m.opts.Spare)
}

// holders are the members with an instance id and their beats. One at this node's address is a predecessor: the address is
// ours now.
func (m *Membership) holders(ctx context.Context, instance string) (map[persistence.MemberID]int64, error) {
	var members []persistence.Member
	err := m.ask(ctx, func(ctx context.Context) (err error) { members, _, err = m.opts.Leases.Members(ctx); return err })
	if err != nil {
		return nil, err
	}
	beats := map[persistence.MemberID]int64{}
	for _, other := range members {
		if other.Instance == instance && other.Address != m.opts.Member.Address && !m.certainlyDead(other) {
			beats[other.ID] = other.Beat
		}
	}
	return beats, nil
}
