package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gnomon/schema"
	"gnomon/shadow"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "*/*.md", "*/*/*.md", "*/*/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)#]+)\)`)

func TestDocuments_LinksLeadSomewhere(t *testing.T) {
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", doc, m[1], err)
			}
		}
	}
}

var codeBlock = regexp.MustCompile("(?s)```(?:console|yaml)\n(.*?)```")

// The two READMEs tell the same story, section by section: what isn't prose is the
// same, and prose names the same flags, members and codes.
func TestDocuments_BothLanguagesAgree(t *testing.T) {
	english, chinese := read(t, "README.md"), read(t, "README.zh-CN.md")
	a, b := codeBlock.FindAllString(english, -1), codeBlock.FindAllString(chinese, -1)
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("the sessions differ: %d and %d blocks", len(a), len(b))
	}
	as, bs := sections(english), sections(chinese)
	if len(as) != len(bs) {
		t.Fatalf("%d sections in English, %d in Chinese", len(as), len(bs))
	}
	for i := range as {
		title, _, _ := strings.Cut(as[i], "\n")
		a, b := prose(as[i]), prose(bs[i])
		if a.rows != b.rows || a.paragraphs != b.paragraphs {
			t.Errorf("%s: %d rows of tables and %d paragraphs in English, %d and %d in Chinese", title, a.rows, a.paragraphs, b.rows, b.paragraphs)
		}
		for _, miss := range []struct {
			in, not map[string]bool
			say     string
		}{{a.code, b.code, "Chinese"}, {b.code, a.code, "English"}} {
			for c := range miss.in {
				if !miss.not[c] {
					t.Errorf("%s: `%s` is not in the %s", title, c, miss.say)
				}
			}
		}
	}
}

func sections(text string) []string {
	return strings.Split(regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "…"), "\n## ")
}

type told struct {
	rows, paragraphs int
	code             map[string]bool // what is in backquotes
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func prose(section string) told {
	is := told{code: map[string]bool{}}
	for _, p := range regexp.MustCompile(`\n\s*\n`).Split(section, -1) {
		if strings.HasPrefix(p, "|") {
			is.rows += strings.Count(p, "\n") + 1
		} else {
			is.paragraphs++
		}
		for _, m := range codeSpan.FindAllStringSubmatch(p, -1) {
			is.code[strings.Join(strings.Fields(m[1]), " ")] = true
		}
	}
	return is
}

var target = regexp.MustCompile("`make ([a-z]+)")

func TestDocuments_TargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, doc := range documents(t) {
		for _, m := range target.FindAllStringSubmatch(read(t, doc), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no `make %s`", doc, m[1])
			}
		}
	}
}

var roomRow = regexp.MustCompile("(?m)^\\| `([a-z/-]+)/` \\|")

func TestDocuments_RoomsExist(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	named := map[string]bool{}
	for _, m := range roomRow.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", m[1], err)
		}
		top, _, _ := strings.Cut(m[1], "/")
		named[top], named[m[1]] = true, true
	}
	for r := range rooms {
		if !named[r] {
			t.Errorf("ARCHITECTURE.md says nothing of %s", r)
		}
	}
	for _, p := range packages(t) {
		path := strings.Split(strings.TrimPrefix(p.ImportPath, "gnomon/"), "/")
		for path[0] == "cloud" || path[0] == "edge" { // where rooms have rows of their own
			if len(path) == 1 {
				t.Errorf("ARCHITECTURE.md has no room for %s: give it a row", p.ImportPath)
			}
			if len(path) == 1 || named[strings.Join(path, "/")] {
				break
			}
			path = path[:len(path)-1]
		}
	}
}

// Every manifest that is shown or shipped is one that the cloud would take.
func TestDocuments_ManifestsAreValid(t *testing.T) {
	samples, err := filepath.Glob("deploy/*/manifests/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples", err)
	}
	texts := map[string]string{}
	for _, s := range samples {
		texts[s] = read(t, s)
	}
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1) {
		texts["README.md block "+string(rune('1'+i))] = block[1]
	}
	for name, text := range texts {
		for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
			var m struct {
				Kind, Node, Name string
				Desired          map[string]any
			}
			if err := dec.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			checkManifest(t, name, m.Kind, m.Name, m.Desired)
		}
	}
}

func checkManifest(t *testing.T, file, kind, name string, desired map[string]any) {
	t.Helper()
	shadowName, known := map[string]string{"node": "", "application": schema.AppPrefix + name, "policy": schema.PolicyPrefix + name}[kind]
	if !known {
		t.Errorf("%s: kind %q", file, kind)
		return
	}
	text, err := json.Marshal(desired)
	if err != nil {
		t.Fatal(err)
	}
	v, err := shadow.Parse(text, shadow.DefaultLimits)
	if err == nil {
		err = schema.Validate(shadowName, v)
	}
	if err != nil {
		t.Errorf("%s: %s %s: %v", file, kind, name, err)
	}
}

// The matrix is shown in both languages as it is enforced.
func TestDocuments_MatrixIsShown(t *testing.T) {
	chinese := map[schema.Support]string{
		schema.Supported: "是", schema.Rebuild: "是，重建容器", schema.RestartOnOver: "超限时只重启该应用",
		schema.NotApplicable: "不适用", schema.Refused: "拒绝",
	}
	for path, says := range map[string]func(schema.Support) string{
		"README.md":       schema.Support.String,
		"README.zh-CN.md": func(s schema.Support) string { return chinese[s] },
	} {
		text := read(t, path)
		for _, row := range schema.Matrix {
			line := "| `" + row.Path + "` |"
			for _, mode := range schema.Modes {
				line += " " + says(row.Support[mode]) + " |"
			}
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s lacks %s", path, line)
			}
		}
	}
}
