package block

import "context"

// Wait returns when no request of the device's is under way; those that are parked,
// throttled or held by a drain do not count. It returns early when ctx ends.
func (b *Backend) Wait(ctx context.Context) error {
	for _, q := range b.queues {
		if err := q.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}
