"""`python -m services.orchestrator [serve|migrate]`"""

import sys

from services.chassis.process import main
from services.orchestrator.app import OrchestratorConfig, build, footing

sys.exit(main(OrchestratorConfig, footing, build))
