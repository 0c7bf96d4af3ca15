package foreign

import (
	"errors"
	"fmt"
)

// Having returns the hooks that have the methods of T.
func Having[T, H any](hooks []H) (those []T) {
	for _, h := range hooks {
		if t, ok := any(h).(T); ok {
			those = append(those, t)
		}
	}
	return those
}

// CheckHooks returns an error for hooks that are nil, or for which known reports that they have none of the methods.
func CheckHooks[H any](hooks []H, known func(hook any) bool, methods string) error {
	var errs []error
	for _, h := range hooks {
		if IsNil(h) || !known(h) {
			errs = append(errs, fmt.Errorf("hook %T has no %s, or is nil", h, methods))
		}
	}
	return errors.Join(errs...)
}
