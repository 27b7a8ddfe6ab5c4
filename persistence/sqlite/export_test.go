package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
)

// LimitPages bounds the size of the database, as a full disk does.
func (s *Store) LimitPages(t testing.TB, pages int) {
	t.Helper()
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	var now int
	if err := s.writer.QueryRowContext(context.Background(), fmt.Sprintf(`pragma max_page_count = %d`, pages)).Scan(&now); err != nil && err != sql.ErrNoRows {
		t.Fatal(err)
	}
}
