// Package backends brings in all kinds of network back ends.
package backends

import (
	_ "govmd/internal/net/socket"
	_ "govmd/internal/net/tap"
)
