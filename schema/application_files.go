package schema

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

func (r *Run) validateFiles(c *check, hasComponent bool) {
	if len(r.Files) > MaxFiles {
		c.add("run.files", "too many files", len(r.Files), MaxFiles)
	}
	seen := map[string]bool{}
	for i, f := range r.Files {
		p := index("run.files", i)
		c.need(path.IsAbs(f.Path) && path.Clean(f.Path) == f.Path && f.Path != "/", p+".path", "must be absolute, without . or .. parts", f.Path)
		c.need(!seen[f.Path], p+".path", "is given twice", f.Path)
		seen[f.Path] = true
		if len(f.Content) > MaxFileContent {
			c.add(p+".content", "too many bytes", len(f.Content), MaxFileContent)
		}
		if f.From != "" {
			ok := !path.IsAbs(f.From) && path.Clean(f.From) == f.From && f.From != ".." && !strings.HasPrefix(f.From, "../")
			c.need(ok, p+".from", "must be relative to the component's root, without . or .. parts", f.From)
			c.need(f.Content == "", p+".content", "must be empty beside from", len(f.Content))
			c.need(hasComponent, p+".from", "needs a component", f.From)
		}
		if f.From == "" || f.Mode != "" {
			bits, err := strconv.ParseUint(f.Mode, 8, 32)
			c.need(err == nil && bits <= 0o777, p+".mode", `must be octal permission bits such as "0644"`, f.Mode)
		}
	}
	for i, f := range r.Files {
		for dir := path.Dir(f.Path); dir != "/" && dir != "."; dir = path.Dir(dir) {
			c.need(!seen[dir], index("run.files", i)+".path", "is below another file of the list", f.Path)
		}
	}
	ways := []Reload{"", ReloadNone, ReloadHUP, ReloadUSR1, ReloadUSR2}
	c.need(slices.Contains(ways, r.Reload), "run.reload", "must be none, SIGHUP, SIGUSR1 or SIGUSR2", r.Reload)
}
