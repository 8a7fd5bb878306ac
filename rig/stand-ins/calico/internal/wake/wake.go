// Package wake lets many informers drive one loop: every change of any watched object asks for one more round, and
// changes that come in during a round ask for one round, not for many.
package wake

import "k8s.io/client-go/tools/cache"

// Signal holds at most one request for a round.
type Signal chan struct{}

// NewSignal returns a signal that asks for a first round.
func NewSignal() Signal {
	signal := make(Signal, 1)
	signal.Ask()
	return signal
}

// Ask requests a round and never blocks.
func (signal Signal) Ask() {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// Watch asks for a round at every change that the informer sees.
func (signal Signal) Watch(informer cache.SharedInformer) error {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal.Ask() },
		UpdateFunc: func(any, any) { signal.Ask() },
		DeleteFunc: func(any) { signal.Ask() },
	})
	return err
}
