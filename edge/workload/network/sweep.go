package network

import (
	"errors"
	"fmt"
)

// Sweep releases what the dead have left, as Take does on its way, and the bridge
// if nobody else is there. It returns the instances it was that of.
func Sweep(c Config, alive Alive) (instances []string, err error) {
	unlock, err := c.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	leases, err := c.leases()
	if err != nil {
		return nil, err
	}
	for n, l := range leases {
		if alive(l.Owner) {
			continue
		}
		if derr := c.drop(n, l); derr != nil {
			err = errors.Join(err, fmt.Errorf("release the network of %s, which is dead: %w", l.Owner, derr))
			continue
		}
		instances = append(instances, l.Instance)
		delete(leases, n)
	}
	if err == nil && len(instances) > 0 && len(leases) == 0 {
		err = c.removeBridge()
	}
	return instances, err
}
