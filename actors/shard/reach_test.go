package shard

import (
	"testing"

	"hawser/persistence"
)

// The story of one other member in half beats: "." it answers, "x" it does not; upper case: it has beaten since.
func TestReach(t *testing.T) {
	for _, tt := range []struct{ name, story, unreachable string }{
		{"answers", "........", "--------"},
		{"a hiccup", ".xXxXx.", "-------"},
		{"beats and does not answer", ".xXxXxXxX", "-------!!"},
		{"neither beats nor answers", ".xxxxxxxxxxxx", "-------------"},
		{"beat once more, then froze", ".xXxxxxxxxxxx", "-------------"},
		{"beats late", ".xxxxxxxXxXx", "----------!!"},
		{"answers again, but not for two beats", "xXxXxXxX.x.xX.", "------!!!!!!!!"},
		{"answers again for two beats", "xXxXxXxX......", "------!!!!!!!-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Reach
			m := persistence.Member{ID: "b"}
			got := ""
			for _, c := range tt.story {
				if c == 'X' {
					m.Beat++
				}
				r.Tick([]persistence.Member{m})
				if len(r.Unreachable()) == 1 {
					got += "!"
				} else {
					got += "-"
				}
				if c == '.' {
					r.Answered("b")
				}
			}
			if got != tt.unreachable {
				t.Errorf("%s\ngot  %s\nwant %s", tt.story, got, tt.unreachable)
			}
			r.Tick(nil)
			r.Answered("b")
			if len(r.Unreachable()) != 0 {
				t.Error("a member that is gone is unreachable")
			}
		})
	}
}
