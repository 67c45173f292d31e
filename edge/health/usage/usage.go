package usage

import "time"

// Snapshot is what was measured at one moment.
type Snapshot struct {
	At           time.Time              `json:"at"`
	Node         Node                   `json:"node"`
	Applications map[string]Application `json:"applications"` // those that run, and those that have something on disk
}

// Node is what the node uses, its applications included.
type Node struct {
	CPU         float64 `json:"cpu"`   // cores
	Cores       int     `json:"cores"` // there are
	Memory      int64   `json:"memory"`
	MemoryTotal int64   `json:"memoryTotal"`
	Pids        int64   `json:"pids"` // processes and threads
	PidsMost    int64   `json:"pidsMost"`
	Rates
	Settled     bool         `json:"settled"` // CPU and rates are known
	FileSystems []FileSystem `json:"fileSystems"`
}

// Application is what one application uses with all it forked, and with what is
// attached to it.
type Application struct {
	Running bool    `json:"running"`
	CPU     float64 `json:"cpu"`    // cores
	Memory  int64   `json:"memory"` // bytes, without file cache the kernel can drop at once
	Pids    int64   `json:"pids"`   // processes and threads
	Rates
	Settled bool       `json:"settled"`        // CPU and rates are known
	Network bool       `json:"network"`        // it has a network of its own, so that In and Out are its own
	Disk    *Footprint `json:"disk,omitempty"` // nil before it was first looked at
}

// Rates are bytes per second.
type Rates struct {
	Read    float64 `json:"read"` // from block devices
	Written float64 `json:"written"`
	In      float64 `json:"in"` // from the network
	Out     float64 `json:"out"`
}

// Footprint is what an application has on disk, in bytes that are taken there.
type Footprint struct {
	Data    int64     `json:"data"`   // its volumes included
	Layers  int64     `json:"layers"` // what it changed of its image
	Logs    int64     `json:"logs"`
	Partial bool      `json:"partial,omitempty"` // there are more files than are looked at: it is at least that
	At      time.Time `json:"at"`
}

// Total returns all of it.
func (f *Footprint) Total() int64 {
	if f == nil {
		return 0
	}
	return f.Data + f.Layers + f.Logs
}

// FileSystem is one that the agent's directories are on.
type FileSystem struct {
	Path       string `json:"path"` // one of those directories
	Size       int64  `json:"size"`
	Used       int64  `json:"used"`
	Free       int64  `json:"free"`   // for programs other than root's
	Inodes     int64  `json:"inodes"` // 0: as many as there is room for
	InodesUsed int64  `json:"inodesUsed"`
	ReadOnly   bool   `json:"readOnly,omitempty"`
}

// Fraction returns how much of it is taken, of what programs may take, from 0 to 1.
func (f FileSystem) Fraction() float64 {
	if f.Used+f.Free <= 0 {
		return 0
	}
	return float64(f.Used) / float64(f.Used+f.Free)
}

// InodeFraction is Fraction of inodes.
func (f FileSystem) InodeFraction() float64 {
	if f.Inodes <= 0 {
		return 0
	}
	return float64(f.InodesUsed) / float64(f.Inodes)
}
