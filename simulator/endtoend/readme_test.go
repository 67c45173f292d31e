package endtoend

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What README.md tells to type, and the manifest that it names.
const (
	readme          = "../../README.md"
	readmeChinese   = "../../README.zh-CN.md"
	fiveCommands    = "\n## A station area, from nothing to a completeness picture, in five commands\n"
	minuteManifest  = "deploy/collection/manifests/area-minute.yaml"
	minutePeriod    = "\n  period: 1m\n"
	shorterPeriod   = "\n  period: 8s\n  report: {maxDelay: 1s}\n" // a minute is the default of maxDelay
	completedBefore = 2 * time.Minute                              // of the shorter period's; some 25 s are expected
	completedWhole  = 8 * time.Minute
)

// signs are what the programs of the commands say once they serve: a user reads
// that before he types on.
var signs = map[string]string{
	"gnomon-sim":  "meters behind a CCO on ",
	"gnomon":      `msg="gnomon cloud"`,
	"gnomon-edge": `msg="connected and synced"`,
}

// The five commands of README.md, typed as they are printed, end in the picture that
// is printed. Nothing of the lines is replaced: ports and directories are those of a
// terminal of its own. The one thing that is another is the period of the policy, in
// the copy of the manifest that lies where the fourth command looks for it: 8 s for a
// minute, and 1 s for the minute in which the node tells. In a cycle of 8 s the CCO
// still gives the dead meter up by itself, after the 5 s of the first command, and the
// others have had their turn. README=whole (make readme) types them with the manifest as
// it is, which takes three to four minutes.
func TestReadme_StationArea(t *testing.T) {
	t.Parallel() // it waits, mostly
	commands, sample := fiveOf(t)
	want := pictureOf(t, sample)
	if slots := want.slots(t); len(want.meters) == 0 || slots != len(want.meters[0].cells) {
		t.Errorf("the sample in README.md counts %d slots and shows\n%s", slots, sample)
	}
	if t.Failed() {
		return
	}
	manifest, patience := read(t, "../../"+minuteManifest), completedWhole
	if os.Getenv("README") != "whole" {
		if strings.Count(manifest, minutePeriod) != 1 {
			t.Fatalf("%s: its period is no longer a minute", minuteManifest)
		}
		manifest, patience = strings.Replace(manifest, minutePeriod, shorterPeriod, 1), completedBefore
	}
	term := openTerminal(t, map[string]string{minuteManifest: manifest})
	for _, command := range commands[:3] {
		term.background(command, signs[strings.Fields(command)[0]])
	}
	if said, status := term.run(commands[3]); status != 0 || !strings.HasPrefix(said, "policy gw-1/area created (version 1)\n") {
		t.Fatalf("%s: status %d\n%s", commands[3], status, said)
	}
	got := term.awaitPicture(commands[4], patience)
	if got.shape != want.shape {
		t.Errorf("the picture is not that of README.md: it has\n%s\nand README.md\n%s", got.shape, want.shape)
	}
	if dead := got.meters[0]; dead.name != "m7" || dead.share != "0.0%" || got.reasons["timeout"] == 0 {
		t.Errorf("the dead meter isn't the worst, with timeouts: %+v, missing %v", dead, got.reasons)
	}
}

// fiveOf returns the commands that README.md prints, and what it prints below them.
func fiveOf(t *testing.T) (commands []string, sample string) {
	t.Helper()
	_, section, _ := strings.Cut(read(t, readme), fiveCommands)
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, _ := strings.Cut(section, "```console\n")
	block, _, whole := strings.Cut(block, "```")
	if !whole || !strings.Contains(read(t, readmeChinese), "```console\n"+block+"```") {
		t.Fatalf("the section has no console block, or README.zh-CN.md has another:\n%s", block)
	}
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok && sample == "" {
			commands = append(commands, strings.TrimSuffix(command, "\n"))
		} else {
			sample += line
		}
	}
	if len(commands) != 5 {
		t.Fatalf("README.md has %d commands before the picture: %q", len(commands), commands)
	}
	return commands, sample
}

// picture is what `gnomon completeness` prints.
type picture struct {
	text, shape      string // as it is printed; and without what differs from run to run
	meters           []pictureRow
	expected, stored int
	reasons          map[string]int
}

type pictureRow struct{ name, share, cells string }

var (
	pictureLine   = regexp.MustCompile(`(?m)^(m\d+) +(\d+\.\d%)  ([#x+b. ]+)$`)
	picturePoints = regexp.MustCompile(`(?m)^points .* of (\d+) \((\d+) of (\d+) meters by slots by items\)$`)
	pictureReason = regexp.MustCompile(`([a-z-]+) (\d+)(?:, |$)`)
)

// varying is what differs from run to run, and what stands for it. Which reasons there
// are beside timeout depends on how long one waits: a meter that has been silent for
// some slots is left out of one, as skipped; and on a slow machine a slot may end before
// the CCO gives up, as overrun.
var varying = []struct {
	what *regexp.Regexp
	mark string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`), "DAY"},
	{regexp.MustCompile(`\b\d\d:\d\d$`), "CLOCK"},
	{regexp.MustCompile(`#+$`), "#"},
	{regexp.MustCompile(`x+$`), "x"},
	{regexp.MustCompile(`of \d+ \(\d+ of \d+ `), "of N (N of N "},
	{regexp.MustCompile(`within [0-9hms.]+$`), "within TIME"},
	{regexp.MustCompile(`(timeout|skipped|overrun) \d+(, (timeout|skipped|overrun) \d+)*$`), "REASONS"},
}

// pictureOf reads what is printed, or as much of it as there is.
func pictureOf(t *testing.T, text string) *picture {
	t.Helper()
	p := &picture{text: text, reasons: map[string]int{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if missing, ok := strings.CutPrefix(line, "missing "); ok {
			for _, m := range pictureReason.FindAllStringSubmatch(missing, -1) {
				p.reasons[m[1]] = number(t, m[2])
			}
		}
		if m := pictureLine.FindStringSubmatch(line); m != nil {
			p.meters = append(p.meters, pictureRow{m[1], m[2], m[3]})
		}
		if m := picturePoints.FindStringSubmatch(line); m != nil {
			p.expected, p.stored = number(t, m[1]), number(t, m[2])
		}
		for _, v := range varying {
			line = v.what.ReplaceAllString(line, v.mark)
		}
		p.shape += line + "\n"
	}
	return p
}

func number(t *testing.T, digits string) int {
	t.Helper()
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// slots is how many slots of ten meters with two items the picture counts, nine of
// which have told all. What is missing is all of the tenth's.
func (p *picture) slots(t *testing.T) int {
	t.Helper()
	missing := 0
	for _, n := range p.reasons {
		missing += n
	}
	slots := p.expected / (10 * 2)
	if len(p.meters) != 10 || p.expected != slots*10*2 || p.stored != slots*9*2 || missing != slots*2 {
		t.Errorf("the numbers don't fit each other: %d meters, %d of %d values, missing %v:\n%s", len(p.meters), p.stored, p.expected, p.reasons, p.text)
	}
	return slots
}

// complete tells whether at least two slots count and all that could be read is there.
// A line has a character for a minute, in which there may be more of them.
func (p *picture) complete() bool {
	whole := 0
	for _, m := range p.meters {
		if strings.Trim(m.cells, "#") == "" || m.name == "m7" && strings.Trim(m.cells, "x") == "" {
			whole++
		}
	}
	return whole == 10 && p.expected >= 2*10*2
}

// awaitPicture asks until the picture is complete, as a user does.
func (term *terminal) awaitPicture(command string, patience time.Duration) *picture {
	term.t.Helper()
	const pause = 500 * time.Millisecond
	began := time.Now()
	tick, deadline := time.NewTicker(pause), time.NewTimer(patience)
	defer tick.Stop()
	defer deadline.Stop()
	for {
		said, status := term.run(command)
		if status != 0 {
			term.t.Fatalf("%s: status %d\n%s", command, status, said)
		}
		if p := pictureOf(term.t, said); p.complete() {
			term.t.Logf("%d slots are complete after %s:\n%s", p.slots(term.t), time.Since(began).Round(100*time.Millisecond), said)
			return p
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			term.t.Fatalf("after %s the picture isn't complete:\n%s", patience, said)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
