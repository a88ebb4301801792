"""`python -m services.channels [serve|migrate]`"""

import sys

from services.channels.app import build, footing
from services.channels.config import ChannelsConfig
from services.chassis.process import main

sys.exit(main(ChannelsConfig, footing, build))
