package wire

import "encoding/binary"

// Node is a meter of the archive.
type Node struct {
	Address  Address
	Protocol Protocol
}

// AppendNodes encodes 11H-F1: nodes are added to the archive. How many go into
// one frame is for the module to say (RunMode.MaxFrame); 255 is the limit.
func AppendNodes(dst []byte, nodes []Node) ([]byte, error) {
	if len(nodes) < 1 || len(nodes) > 255 {
		return dst, syntax(0, "nodes", ErrTooMany, "%d nodes, must be from 1 to 255", len(nodes))
	}
	out := append(dst, byte(len(nodes)))
	for _, n := range nodes {
		if err := n.Address.Check(); err != nil {
			return dst, err
		}
		if err := n.Protocol.check("protocol of " + n.Address.String()); err != nil {
			return dst, err
		}
		out = append(append(out, n.Address[:]...), byte(n.Protocol))
	}
	return out, nil
}

// Nodes are the nodes of 11H-F1 in the bytes they were found in.
type Nodes []byte

const nodeSize = addressSize + 1

// Len is how many there are.
func (l Nodes) Len() int { return len(l) / nodeSize }

// At returns the ith.
func (l Nodes) At(i int) Node {
	b := l[i*nodeSize:]
	return Node{Address(b), Protocol(b[addressSize])}
}

// DecodeNodes reads 11H-F1.
func DecodeNodes(data []byte) (Nodes, error) {
	c := cursor{data: data}
	n := int(c.byte("nodes"))
	from := c.at
	for range n {
		if c.decimal("address"); c.err == nil {
			c.protocol("protocol")
		}
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return data[from:], nil
}

// AppendDelete encodes 11H-F2: nodes are deleted from the archive.
func AppendDelete(dst []byte, nodes Addresses) ([]byte, error) {
	return appendAddresses(dst, nodes, "nodes")
}

// DecodeDelete reads 11H-F2.
func DecodeDelete(data []byte) (Addresses, error) {
	c := cursor{data: data}
	l := c.decimals(1, "nodes")
	return l, c.end()
}

// Counts is 10H-F1 up.
type Counts struct {
	Nodes    uint16
	Capacity uint16
}

// Decode reads the data unit.
func (n *Counts) Decode(data []byte) error {
	c := cursor{data: data}
	n.Nodes, n.Capacity = c.uint16("nodes"), c.uint16("capacity")
	return c.end()
}

// Append encodes the data unit behind dst.
func (n Counts) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, n.Nodes)
	return binary.LittleEndian.AppendUint16(dst, n.Capacity)
}

// Part asks for a part of a list: 10H-F2, F5, F6, F7, F21, F31, F101, F112 down.
type Part struct {
	From  uint16 // 1 is the first; F21, F31 and F112 count the main node as 1
	Count byte
}

// Decode reads the data unit.
func (p *Part) Decode(data []byte) error {
	c := cursor{data: data}
	p.From, p.Count = c.uint16("from"), c.byte("count")
	return c.end()
}

// Append encodes the data unit behind dst.
func (p Part) Append(dst []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(dst, p.From), p.Count)
}

// NodeList is 10H-F2 up, and F5 and F6, which are of the same form. Addresses
// are as the module says; Address.Check tells whether one can be a meter's.
type NodeList struct {
	Total uint16
	Nodes NodeStates
}

// Decode reads the data unit.
func (l *NodeList) Decode(data []byte) error {
	c := cursor{data: data}
	l.Total, l.Nodes = c.uint16("total"), c.records(1, nodeStateSize, "nodes")
	return c.end()
}

// Append encodes the data unit behind dst.
func (l *NodeList) Append(dst []byte) ([]byte, error) {
	if l.Nodes.Len() > 255 || len(l.Nodes)%nodeStateSize != 0 {
		return dst, syntax(0, "nodes", ErrTooMany, "%d bytes of nodes, 255 of %d bytes are the limit", len(l.Nodes), nodeStateSize)
	}
	dst = binary.LittleEndian.AppendUint16(dst, l.Total)
	return append(append(dst, byte(l.Nodes.Len())), l.Nodes...), nil
}

// NodeStates are the nodes of a NodeList in the bytes they were found in.
type NodeStates []byte

const nodeStateSize = addressSize + 2

// Len is how many there are.
func (l NodeStates) Len() int { return len(l) / nodeStateSize }

// At returns the ith.
func (l NodeStates) At(i int) NodeState {
	b := l[i*nodeStateSize:]
	low, high := b[6], b[7]
	return NodeState{
		Address: Address(b), RelayLevel: low & 15, Quality: low >> 4,
		Phases: high & 7, Protocol: Protocol(high >> 3 & 7), MinuteCollection: high&(1<<6) != 0, spare: high >> 7,
	}
}

// AppendState appends a node to a list.
func (l NodeStates) AppendState(n NodeState) NodeStates {
	l = append(l, n.Address[:]...)
	return append(l, n.RelayLevel&15|n.Quality<<4, n.Phases&7|byte(n.Protocol)&7<<3|bit(n.MinuteCollection, 1<<6)|n.spare<<7)
}

// NodeState is what a module knows of a node.
type NodeState struct {
	Address          Address
	RelayLevel       byte // 0 to 15
	Quality          byte // 1 = worst, 15 = best, 0 = not known
	Phases           byte // bits 0 to 2: phases 1 to 3
	Protocol         Protocol
	MinuteCollection bool // Anhui: the node can collect of its own accord
	spare            byte
}
