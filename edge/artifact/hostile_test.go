package artifact

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// Directories that an archive only implies count like those it names.
func TestUnpack_ImpliedDirectoriesAreLimited(t *testing.T) {
	deep := strings.Repeat("d/", 300)
	for what, entries := range map[string][]entry{
		"of files":     {{name: "a/" + deep + "x", mode: 0o644}, {name: "b/" + deep + "x", mode: 0o644}},
		"of whiteouts": {{name: "a/" + deep + ".wh.x", mode: 0o644}, {name: "b/" + deep + ".wh.x", mode: 0o644}},
	} {
		for most, want := range map[int]error{500: ErrTooLarge, 700: nil} {
			s := newStore(t, Config{MaxEntries: most})
			l := newLayout(t, filepath.Join(s.cfg.Components, "a@1"))
			l.tag(l.image("amd64", pack(t, entries...)), "")
			l.write()
			if _, err := s.Resolve(context.Background(), "a@1"); !errors.Is(err, want) {
				t.Errorf("%s, at most %d: %v", what, most, err)
			}
		}
	}
}
