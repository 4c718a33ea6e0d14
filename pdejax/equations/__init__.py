"""The equations, each stated once. To add one: one file, one line here, one test with an exact solution."""

from pdejax.equations.acoustics import Acoustics as Acoustics
from pdejax.equations.burgers import Burgers as Burgers
from pdejax.equations.conservation_law import ConservationLaw as ConservationLaw
from pdejax.equations.elasticity import Elasticity as Elasticity
from pdejax.equations.equation import Equation as Equation
from pdejax.equations.equation import coefficient as coefficient
from pdejax.equations.euler import Euler as Euler
from pdejax.equations.heterogeneous_diffusion import HeterogeneousDiffusion as HeterogeneousDiffusion
from pdejax.equations.heterogeneous_diffusion import NonlinearDiffusion as NonlinearDiffusion
from pdejax.equations.korteweg_de_vries import KortewegDeVries as KortewegDeVries
from pdejax.equations.kuramoto_sivashinsky import KuramotoSivashinsky as KuramotoSivashinsky
from pdejax.equations.leading_part import LeadingPart as LeadingPart
from pdejax.equations.linear_waves import LinearWaves as LinearWaves
from pdejax.equations.maxwell import Maxwell as Maxwell
from pdejax.equations.navier_stokes import KolmogorovFlow as KolmogorovFlow
from pdejax.equations.navier_stokes import NavierStokesVorticity as NavierStokesVorticity
from pdejax.equations.reaction_diffusion import AllenCahn as AllenCahn
from pdejax.equations.reaction_diffusion import FisherKPP as FisherKPP
from pdejax.equations.scalar_laws import BuckleyLeverett as BuckleyLeverett
from pdejax.equations.scalar_laws import InviscidBurgers as InviscidBurgers
from pdejax.equations.scalar_laws import TrafficFlow as TrafficFlow
from pdejax.equations.shallow_water import ShallowWater as ShallowWater
from pdejax.equations.transport import Advection as Advection
from pdejax.equations.transport import AdvectionDiffusion as AdvectionDiffusion
from pdejax.equations.transport import Diffusion as Diffusion
