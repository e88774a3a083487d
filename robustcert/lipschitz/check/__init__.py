"""An independent checker of Lipschitz certificates; its mathematics is numpy alone."""
