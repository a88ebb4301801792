"""`python -m services.segment [serve|migrate]`"""

import sys

from services.chassis.process import main
from services.segment.app import SegmentConfig, build, footing

sys.exit(main(SegmentConfig, footing, build))
