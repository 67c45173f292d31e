package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"gnomon/simulator/experiment"
)

// every is how often progress is told where there is no terminal.
const every = 10 * time.Second

// progress shows how far each stage is: as bars on a terminal, as one line every
// ten seconds otherwise.
type progress struct {
	w io.Writer

	mu    sync.Mutex
	bars  *mpb.Progress // nil where there is no terminal
	bar   *mpb.Bar
	stage string
	told  time.Time
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, told: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))
	}
	return p
}

func (p *progress) show(at experiment.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		if now := time.Now(); now.Sub(p.told) >= every {
			p.told = now
			fmt.Fprintf(p.w, "gnomon-sim: %s %d of %d\n", at.Stage, at.Done, at.Total)
		}
		return
	}
	if at.Stage != p.stage {
		p.finish()
		p.stage = at.Stage
		p.bar = p.bars.AddBar(int64(at.Total),
			mpb.PrependDecorators(decor.Name(at.Stage, decor.WC{W: 10, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d"), decor.Elapsed(decor.ET_STYLE_GO, decor.WCSyncSpace)))
	}
	p.bar.SetCurrent(int64(at.Done))
}

// finish ends the bar of the stage before, where it stands.
func (p *progress) finish() {
	if p.bar != nil && !p.bar.Completed() {
		p.bar.Abort(false)
	}
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars != nil {
		p.finish()
		p.bars.Wait()
	}
}
